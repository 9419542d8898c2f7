"""Following `items`: which of them may no longer be recommended."""

from collections.abc import Mapping

import numpy as np

from consumers.runtime.topic_reader import new_records
from pipeline.events.windows import Ids
from pipeline.streams.interface import Log
from pipeline.streams.topics import ITEMS


class Withdrawals:
    """Items that a tombstone has withdrawn; a record that follows it brings the item back.

    An item that set-up does not know has no row: it cannot be recommended before the next set-up, and what is said of
    it is passed over.

    Args:
        row_of: catalogue row of every item id that set-up knows.
    """

    def __init__(self, row_of: Mapping[str, int]) -> None:
        self._row_of = row_of
        self._position = 0
        self._withdrawn: set[int] = set()

    def follow(self, log: Log) -> Ids:
        """(n,) catalogue rows of the items that are withdrawn by now."""
        for record in new_records(log, ITEMS, self._position):
            self._position = record.offset + 1
            row = self._row_of.get(record.key or "")
            if row is not None and record.value is None:
                self._withdrawn.add(row)
            elif row is not None:
                self._withdrawn.discard(row)
        return np.array(sorted(self._withdrawn), dtype=np.int64)
