"""Items that may not be recommended any more, from the tombstones of topic `items`."""

from collections.abc import Mapping

import numpy as np

from consumers.runtime.topic_reader import new_records
from pipeline.events.windows import PADDING, Ids
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import ITEMS


class WithdrawnItems:
    """Catalogue rows withdrawn by a tombstone; a later record of the item brings it back.

    Records of items that set-up does not have are ignored: without a catalogue row they cannot be recommended before
    the next set-up.

    Args:
        row_of: catalogue row, 1 and up, of every item id of the set-up.

    Attributes:
        mask: (items + 1,) True for rows that may not be recommended; row 0, the padding, is one.
    """

    def __init__(self, row_of: Mapping[str, int]) -> None:
        self.mask = np.zeros(len(row_of) + 1, dtype=np.bool_)
        self.mask[PADDING] = True
        self._row_of = row_of
        self._position = 0

    def apply(self, record: Record) -> int | None:
        """Apply a record of `items`; return the item's catalogue row, None if it has none."""
        row = self._row_of.get(record.key or "")
        if row is not None:
            self.mask[row] = record.value is None
        return row

    def poll(self, log: Log) -> Ids:
        """Apply new records of a log; return the (n,) catalogue rows that are withdrawn."""
        for record in new_records(log, ITEMS, self._position):
            self._position = record.offset + 1
            self.apply(record)
        return np.flatnonzero(self.mask[1:]).astype(np.int64) + 1
