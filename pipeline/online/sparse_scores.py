"""Scores of the few items that a source has evidence for; those of all others are 0."""

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.online.dense_scores import Values, shortlist


class RowMemory:
    """Working memory with a place for each catalogue row, so that work on a few rows costs nothing for the others.

    It grows with the highest row that it is given, and is zero between two calls.
    """

    def __init__(self) -> None:
        self._values = np.zeros(0)
        self._numbers: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def sums(self, rows: Ids, values: Array) -> tuple[Ids, Array]:
        """(k,) distinct ones of (n,) rows, and the sums of their (n,) positive values, added in the order given."""
        self._make_room(rows)
        np.add.at(self._values, rows, values)
        found = np.flatnonzero(self._values) if len(rows) > len(self._values) else self._distinct(rows)
        sums = self._values[found]
        self._values[found] = 0.0
        return found, sums

    def look_up(self, rows: Ids, values: Array, wanted: Ids) -> Array:
        """(m,) values of (m,) wanted rows, given (k,) distinct rows and values; 0 for rows without one."""
        self._make_room(rows)
        self._make_room(wanted)
        self._values[rows] = values
        found: Array = self._values[wanted]
        self._values[rows] = 0.0
        return found

    def _distinct(self, rows: Ids) -> Ids:
        """(k,) distinct ones of (n,) rows: of equal ones, that whose number stays."""
        numbers = np.arange(len(rows))
        self._numbers[rows] = numbers
        distinct: Ids = rows[self._numbers[rows] == numbers]
        return distinct

    def _make_room(self, rows: Ids) -> None:
        missing = int(rows.max(initial=0)) + 1 - len(self._values)
        if missing > 0:
            more = missing + len(self._values) // 4
            self._values = np.concatenate([self._values, np.zeros(more)])
            self._numbers = np.concatenate([self._numbers, np.zeros(more, dtype=np.int64)])


class SparseScores:
    """Scores of k items.

    Args:
        rows: (k,) distinct catalogue rows.
        values: (k,) their scores, all positive.
        memory: looks scores up.

    Attributes:
        rows, values: as given.
    """

    __slots__ = ("_memory", "rows", "values")

    def __init__(self, rows: Ids, values: Array, memory: RowMemory) -> None:
        self.rows, self.values, self._memory = rows, values, memory

    @property
    def total(self) -> float:
        """Sum over all items."""
        return float(self.values.sum())

    @property
    def highest(self) -> float:
        """Highest score of any item, 0 without evidence."""
        return float(self.values.max(initial=0.0))

    def at(self, rows: Ids) -> Array:
        """(m,) scores of (m,) rows."""
        return self._memory.look_up(self.rows, self.values, rows)

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """Rows and scores of the `most` best items that may be recommended, all ties of the last one, and some more."""
        return shortlist(self.values, allowed, most, rows=self.rows)
