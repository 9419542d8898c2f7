"""Item neighbours: items that the same users took, in the newest events.

Item-based nearest neighbours (Sarwar et al., 2001), updated with every event and never trained:

    c(i, j) = number of the newest events of item i by a user who had taken j, or the other way round
    s(i | history) = sum over its items j of DECAY^age(j) c(i, j) / sqrt((n(i) + s) (n(j) + s))

The age of an item in a history is 0 for the newest and 1 for the one before it; n counts the newest events of an item.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.compiled import compiled
from pipeline.events.windows import PADDING, Ids
from pipeline.online.pair_counts import PairCounts
from pipeline.online.sparse_scores import SparseScores

DECAY = 0.85
"""Weight of an item of a history against the one taken after it."""

SHRINKAGE = 5.0
"""Events added to each count in the denominator: two rare items are no neighbours for one common user."""


class ItemNeighbours:
    """Counts of item pairs of the same users.

    Args:
        events: number of newest events that are counted.
        length: items of a history.
    """

    def __init__(self, events: int, length: int) -> None:
        self._histories = np.zeros((events, length), dtype=np.int64)
        self._rows = np.zeros(events, dtype=np.int64)
        self._added = 0
        self._counts = PairCounts()
        self._taken = np.zeros(1)
        self._decays = np.cumprod(np.append(1.0, np.full(length - 1, DECAY)))

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`; it never shrinks."""
        missing = items + 1 - len(self._taken)
        if missing > 0:
            self._taken = np.concatenate([self._taken, np.zeros(missing)])

    def add(self, history: Ids, row: int) -> None:
        """Count an event: the item of catalogue row `row`, taken by a user of (length,) distinct earlier items."""
        position = self._added % len(self._rows)
        self._count(position, -1)
        self._histories[position], self._rows[position] = history, row
        self._count(position, 1)
        self._added += 1

    def scores(self, history: Ids) -> SparseScores:
        """The s of each item after a (length,) history, oldest first."""
        scores = self._counts.weighted(*_weighted(history, self._taken, self._decays))
        _normalise(scores.values, scores.rows, self._taken)
        return scores

    def forget(self, rows: Ids) -> None:
        """Drop (m,) catalogue rows, which other items may get, from all events."""
        gone = np.isin(self._rows, rows)
        for position in np.flatnonzero(gone | np.isin(self._histories, rows).any(axis=1)).tolist():
            self._count(position, -1)
            history = self._histories[position]
            history[np.isin(history, rows) | gone[position]] = PADDING
            self._rows[position] = PADDING if gone[position] else self._rows[position]
            self._count(position, 1)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the newest events; `restore` continues from them to the bit."""
        return {"histories": self._histories.copy(), "rows": self._rows.copy(), "added": np.array(self._added)}

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from what `to_arrays` gave; see `ItemTransitions.restore`."""
        self._histories = rows[arrays["histories"].astype(np.int64)]
        self._rows = rows[arrays["rows"].astype(np.int64)]
        self._histories[self._rows == PADDING] = PADDING
        self._added = int(arrays["added"])
        self.resize(int(rows.max(initial=0)))
        taken = np.bincount(self._rows, minlength=len(self._taken)).astype(np.float64)
        taken[PADDING] = 0.0
        self._taken = taken
        events, places = np.nonzero(self._histories != self._rows[:, None])
        items, taken_after = self._histories[events, places], self._rows[events]
        pairs = (items != PADDING) & (taken_after != PADDING)
        one, other = items[pairs], taken_after[pairs]
        firsts, seconds = np.concatenate([one, other]), np.concatenate([other, one])
        self._counts = PairCounts.summed(firsts, seconds, np.ones(len(firsts), dtype=np.int64))

    def _count(self, position: int, sign: int) -> None:
        row = int(self._rows[position])
        if row == PADDING:
            return
        self._taken[row] += sign
        self._counts.add(*_pairs(self._histories[position], row, sign))


@compiled
def _weighted(history: Ids, taken: Array, decays: Array) -> tuple[Ids, Array]:
    """The items of a (length,) history, newest first, and their weights."""
    items, weights, size = np.empty_like(history), np.empty(len(history), dtype=np.float64), 0
    for item in history[::-1]:
        if item != PADDING:
            items[size], weights[size] = item, decays[size] / math.sqrt(taken[item] + SHRINKAGE)
            size += 1
    return items[:size], weights[:size]


@compiled
def _normalise(values: Array, rows: Ids, taken: Array) -> None:
    """Divide (m,) values by the (m,) rows' part of the denominator, in place."""
    for number in range(len(rows)):
        values[number] /= math.sqrt(taken[rows[number]] + SHRINKAGE)


@compiled
def _pairs(history: Ids, row: int, sign: int) -> tuple[Ids, Ids, Ids]:
    """Pairs of the row that was taken with each item of a (length,) history, both ways: two rows and the count."""
    items, size = np.empty_like(history), 0
    for item in history:
        if item not in (PADDING, row):
            items[size] = item
            size += 1
    firsts, seconds = np.full(2 * size, row), np.full(2 * size, row)
    firsts[:size], seconds[size:] = items[:size], items[:size]
    return firsts, seconds, np.full(2 * size, sign)
