"""Scores of the few items that a source has evidence for; those of all others are 0."""

import numpy as np

from pipeline.arrays import Array
from pipeline.compiled import compiled
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.online.dense_scores import Values, shortlist


class RowMemory:
    """Working memory with a place for each catalogue row, so that work on a few rows costs nothing for the others.

    It is zero between two uses.
    """

    def __init__(self) -> None:
        self._values = np.zeros(0)

    def up_to(self, row: int) -> Array:
        """Memory with places for rows up to the one given, at least."""
        missing = row + 1 - len(self._values)
        if missing > 0:
            self._values = np.zeros(row + 1 + row // 4)
        return self._values


class SparseScores:
    """Scores of k items.

    Args:
        rows: (k,) distinct catalogue rows.
        values: (k,) their scores, all positive.
        memory: see `RowMemory.up_to`; it has a place for each of the rows.

    Attributes:
        rows, values: as given.
    """

    __slots__ = ("_memory", "rows", "values")

    def __init__(self, rows: Ids, values: Array, memory: Array) -> None:
        self.rows, self.values, self._memory = rows, values, memory

    @property
    def total(self) -> float:
        """Sum over all items."""
        return _total(self.values)

    @property
    def highest(self) -> float:
        """Highest score of any item, 0 without evidence."""
        return _highest(self.values)

    def at(self, rows: Ids) -> Array:
        """(m,) scores of (m,) rows."""
        return _look_up(self.rows, self.values, rows, self._memory)

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """Rows and scores of the `most` best items that may be recommended, and of all ties of the last one."""
        return shortlist(self.values, allowed, most, rows=self.rows)


@compiled
def _total(values: Array) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


@compiled
def _highest(values: Array) -> float:
    highest = 0.0
    for value in values:
        highest = max(highest, value)
    return highest


@compiled
def _look_up(rows: Ids, values: Array, wanted: Ids, memory: Array) -> Array:
    """(m,) values of (m,) wanted rows, given (k,) distinct rows and values; 0 for rows without one."""
    for number in range(len(rows)):
        memory[rows[number]] = values[number]
    found = np.empty(len(wanted), dtype=np.float64)
    for number in range(len(wanted)):
        row = wanted[number]
        found[number] = memory[row] if row < len(memory) else 0.0
    for number in range(len(rows)):
        memory[rows[number]] = 0.0
    return found
