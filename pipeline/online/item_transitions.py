"""Item transitions: items taken after those of a window, in the newest events.

Sequential rules (Ludewig and Jannach, 2018), updated with every event and never trained:

    n(j | i) = sum over the newest events of item j with i in the window, of the position of i there
    s(j | window) = sum over its items of position(i) n(j | i)

The position of an item in a window of `length` is `length` for the newest and 1 for the oldest. Counts are integers, so
an event that is removed leaves them exactly as they were.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.events.windows import PADDING, Ids
from pipeline.online.pair_counts import PairCounts
from pipeline.online.sparse_scores import SparseScores


class ItemTransitions:
    """Counts of item pairs in the order taken.

    Args:
        events: number of newest events that are counted.
        length: items of a window.
    """

    def __init__(self, events: int, length: int) -> None:
        self._contexts = np.zeros((events, length), dtype=np.int64)
        self._rows = np.zeros(events, dtype=np.int64)
        self._added = 0
        self._counts = PairCounts()

    def add(self, context: Ids, row: int) -> None:
        """Count an event: the item of catalogue row `row`, taken after the (length,) items of a window."""
        position = self._added % len(self._rows)
        self._count(self._contexts[position], int(self._rows[position]), -1)
        self._contexts[position], self._rows[position] = context, row
        self._count(self._contexts[position], row, 1)
        self._added += 1

    def scores(self, context: Ids) -> SparseScores:
        """The s of each item after a (length,) window."""
        return self._counts.weighted(context, np.arange(1.0, len(context) + 1.0))

    def forget(self, rows: Ids) -> None:
        """Drop (m,) catalogue rows, which other items may get, from all events."""
        taken = np.isin(self._rows, rows)
        for position in np.flatnonzero(taken | np.isin(self._contexts, rows).any(axis=1)).tolist():
            context, row = self._contexts[position], int(self._rows[position])
            self._count(context, row, -1)
            context[np.isin(context, rows) | taken[position]] = PADDING
            self._count(context, row, 1)
        self._rows[taken] = PADDING

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the newest events; `restore` continues from them to the bit."""
        return {"contexts": self._contexts.copy(), "rows": self._rows.copy(), "added": np.array(self._added)}

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from what `to_arrays` gave.

        Args:
            arrays: with catalogue rows of the process that wrote them.
            rows: row here of each of them, 0 for an item that is not known here.
        """
        self._contexts = rows[arrays["contexts"].astype(np.int64)]
        self._rows = rows[arrays["rows"].astype(np.int64)]
        self._contexts[self._rows == PADDING] = PADDING
        self._added = int(arrays["added"])
        events, places = np.nonzero(self._contexts)
        self._counts = PairCounts.summed(self._contexts[events, places], self._rows[events], places + 1)

    def _count(self, context: Ids, row: int, sign: int) -> None:
        """Add to the counts; the position of an item is 1 for the oldest that a window can hold."""
        self._counts.add(*_pairs(context, row, sign))


@compiled
def _pairs(context: Ids, row: int, sign: int) -> tuple[Ids, Ids, Ids]:
    """First item, second item and count of each pair of a (length,) window and the row that was taken after it."""
    firsts, seconds, counts = np.empty_like(context), np.full_like(context, row), np.empty_like(context)
    size = 0
    for place in range(len(context)):
        if context[place] != PADDING:
            firsts[size], counts[size] = context[place], sign * (place + 1)
            size += 1
    return firsts[:size], seconds[:size], counts[:size]
