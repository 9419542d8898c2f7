"""Scores of all items, and the choice of the best without sorting or copying them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.compiled import compiled
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids

Values = NDArray[np.floating[Any]]
"""(m,) scores of catalogue rows for one window, higher is better."""

BLOCK = 8
"""Values of which none is looked at where the highest is too low."""

NO_ROWS: Ids = np.zeros(0, dtype=np.int64)


class DenseScores:
    """Scores of all items.

    Args:
        values: (items + 1,) by catalogue row.
        least: exclusive bound of the scores of items that may be proposed.
    """

    __slots__ = ("_least", "_values")

    def __init__(self, values: Values, least: float = -math.inf) -> None:
        self._values, self._least = values, least

    def at(self, rows: Ids) -> Values:
        """(m,) scores of (m,) rows."""
        return self._values[rows]

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """Rows and scores of the `most` best items that may be recommended, and of all ties of the last one."""
        return shortlist(self._values, allowed, most, self._least)


def shortlist(
    values: Values, allowed: Allowed, most: int, least: float = -math.inf, rows: Ids | None = None
) -> tuple[Ids, Values]:
    """Rows and scores of the `most` best items that may be recommended, and of all ties of the last one.

    Args:
        values: (n,) scores.
        allowed: says which items may be recommended.
        most: number of items that are wanted, at least 1.
        least: exclusive bound of their scores.
        rows: (n,) distinct rows of the scores; None: those from 0.
    """
    places = _best(values, NO_ROWS if rows is None else rows, allowed.existing, allowed.excluded, most, least)
    return (places if rows is None else rows[places]), values[places]


@compiled
def _best(
    values: Values, rows: Ids, existing: NDArray[np.bool_], excluded: Ids, most: int, least: float
) -> NDArray[np.int64]:
    """Places of the best of n values, and of all ties of the last one.

    Args:
        values: (n,) values.
        rows: (n,) their rows; the places themselves where it is empty.
        existing: (items + 1,) True for rows that exist.
        excluded: (k,) rows that are left out all the same, ascending.
        most: number of values that are wanted.
        least: exclusive bound of values.
    """
    highest = _highest_of_blocks(values)
    blocks = max(len(highest), 1)
    # The lowest of the best values so far is at the root of a heap.
    heap, size, bound = np.empty(most, dtype=np.float64), 0, least
    for block in range(len(highest)):
        if not highest[block] > bound:
            continue
        for place in range(block, len(values), blocks):
            value = values[place]
            if not value > bound or not _may_be(rows[place] if len(rows) else place, existing, excluded):
                continue
            if size < most:
                _rise(heap, size, value)
                size += 1
            else:
                _sink(heap, value)
            if size == most:
                bound = heap[0]
    found, count = np.empty(size, dtype=np.int64), 0
    for block in range(len(highest)):
        if highest[block] < bound:
            continue
        for place in range(block, len(values), blocks):
            value = values[place]
            is_best = value >= bound if size == most else value > bound
            if is_best and _may_be(rows[place] if len(rows) else place, existing, excluded):
                if count == len(found):
                    found = np.append(found, np.empty(most, dtype=np.int64))
                found[count] = place
                count += 1
    return found[:count]


@compiled
def _highest_of_blocks(values: Values) -> Values:
    """(blocks,) highest of the values at places b, b + blocks, b + 2 blocks, ... for each block b: without a branch."""
    blocks = -(-len(values) // BLOCK)
    highest = values[:blocks].copy()
    for start in range(blocks, len(values), max(blocks, 1)):
        for block in range(min(blocks, len(values) - start)):
            highest[block] = max(highest[block], values[start + block])
    return highest


@compiled
def _may_be(row: int, existing: NDArray[np.bool_], excluded: Ids) -> bool:
    if row >= len(existing) or not existing[row]:
        return False
    place = np.searchsorted(excluded, row)
    return place == len(excluded) or bool(excluded[place] != row)


@compiled
def _rise(heap: Array, place: int, value: float) -> None:
    """Insert a value into a heap of `place` values."""
    while place > 0 and heap[(place - 1) // 2] > value:
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = value


@compiled
def _sink(heap: Array, value: float) -> None:
    """Replace the lowest value of a heap."""
    place, size = 0, len(heap)
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value
