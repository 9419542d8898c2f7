"""Counts of item pairs, kept by first item so that those of one item are read without copying.

The partners of an item are a block of one large array, in ascending order. A block that is full moves to the end of the
array with twice the room; the array is packed anew where most of it is left behind by such moves.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.compiled import compiled
from pipeline.events.windows import Ids
from pipeline.online.sparse_scores import RowMemory, SparseScores

Counts = NDArray[np.int32]

LEAST_ROOM = 4
"""Partners of the first block of an item."""


class PairCounts:
    """Counts of ordered pairs of catalogue rows.

    Counts are sums of integers, so that what is taken away leaves them exactly as they were.
    """

    def __init__(self) -> None:
        self._starts, self._sizes, self._rooms = (np.zeros(0, dtype=np.int64) for _ in range(3))
        self._rows, self._counts = (np.zeros(LEAST_ROOM, dtype=np.int32) for _ in range(2))
        self._used, self._highest = 0, 0
        self._memory = RowMemory()

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self._starts, self._sizes, self._rooms, self._rows, self._counts)
        return sum(array.nbytes for array in arrays)

    @classmethod
    def summed(cls, firsts: Ids, seconds: Ids, counts: Ids) -> Self:
        """Counts of (n,) pairs with positive counts, as if they were added, in a fraction of the time."""
        made = cls()
        if not len(firsts):
            return made
        order = np.lexsort((seconds, firsts))
        first, second = firsts[order], seconds[order]
        starts = np.flatnonzero(np.append(True, (first[1:] != first[:-1]) | (second[1:] != second[:-1])))
        made._rows = second[starts].astype(np.int32)
        made._counts = np.add.reduceat(counts[order], starts).astype(np.int32)
        made._sizes = np.bincount(first[starts])
        made._rooms, made._used = made._sizes.copy(), len(starts)
        made._starts = np.cumsum(made._sizes) - made._sizes
        made._highest = int(seconds.max())
        return made

    def add(self, firsts: Ids, seconds: Ids, counts: Ids) -> None:
        """Add (n,) counts to those of (n,) pairs, in their order; a pair whose count falls to zero is removed."""
        done = 0
        while True:
            blocks = (self._starts, self._sizes, self._rooms)
            done, self._used, self._highest = _add(
                *blocks, self._rows, self._counts, firsts, seconds, counts, done, self._used, self._highest
            )
            if done == len(firsts):
                return
            if firsts[done] >= len(self._starts):
                self._resize(int(firsts[done]))
            else:
                self._make_room()

    def weighted(self, firsts: Ids, weights: Array) -> SparseScores:
        """Sums of weight times count over (n,) items, some perhaps twice, with positive weights, in their order."""
        memory = self._memory.up_to(self._highest)
        rows, sums = _sums(
            self._starts, self._sizes, self._rows, self._counts, np.ascontiguousarray(firsts), weights, memory
        )
        return SparseScores(rows, sums, memory)

    def _resize(self, first: int) -> None:
        """Give items up to the one given a block, and some more."""
        more = np.zeros(first + 1 - len(self._starts) + len(self._starts) // 4, dtype=np.int64)
        parts = (self._starts, self._sizes, self._rooms)
        self._starts, self._sizes, self._rooms = (np.concatenate([part, more]) for part in parts)

    def _make_room(self) -> None:
        """Pack the array anew where most of it is left behind, else double it."""
        total = int(self._rooms.sum())
        is_mostly_left = 2 * total < self._used
        starts = np.cumsum(self._rooms) - self._rooms if is_mostly_left else self._starts
        length = len(self._rows) if is_mostly_left else 2 * len(self._rows)
        before, after = (_places(of, self._sizes) for of in (self._starts, starts))
        rows, counts = (np.zeros(length, dtype=np.int32) for _ in range(2))
        rows[after], counts[after] = self._rows[before], self._counts[before]
        self._rows, self._counts, self._starts = rows, counts, starts
        self._used = total if is_mostly_left else self._used


def _places(starts: Ids, sizes: Ids) -> Ids:
    """(n,) places of the partners of all items, block by block."""
    first = np.cumsum(sizes) - sizes
    places: Ids = np.repeat(starts - first, sizes) + np.arange(int(sizes.sum()))
    return places


@compiled
def _add(
    starts: Ids,
    sizes: Ids,
    rooms: Ids,
    rows: Counts,
    counts: Counts,
    firsts: Ids,
    seconds: Ids,
    added: Ids,
    done: int,
    used: int,
    highest: int,
) -> tuple[int, int, int]:
    """Add pairs from number `done` on.

    Returns:
        The number of the first pair that there is no room for, how much of the array is used, and the highest partner.
    """
    for number in range(done, len(firsts)):
        first, second = firsts[number], seconds[number]
        if first >= len(starts):
            return number, used, highest
        start, size = starts[first], sizes[first]
        place = start + np.searchsorted(rows[start : start + size], second)
        end = start + size
        if place < end and rows[place] == second:
            counts[place] += added[number]
            if counts[place] == 0:
                for moved in range(place, end - 1):
                    rows[moved], counts[moved] = rows[moved + 1], counts[moved + 1]
                sizes[first] -= 1
            continue
        if size == rooms[first]:
            room = max(LEAST_ROOM, 2 * size)
            if used + room > len(rows):
                return number, used, highest
            rows[used : used + size] = rows[start:end]
            counts[used : used + size] = counts[start:end]
            place += used - start
            starts[first], rooms[first], end = used, room, used + size
            used += room
        for moved in range(end, place, -1):
            rows[moved], counts[moved] = rows[moved - 1], counts[moved - 1]
        rows[place], counts[place] = second, added[number]
        sizes[first] += 1
        highest = max(highest, second)
    return len(firsts), used, highest


@compiled
def _sums(
    starts: Ids, sizes: Ids, rows: Counts, counts: Counts, firsts: Ids, weights: Array, memory: Array
) -> tuple[Ids, Array]:
    """Rows with a count beside any of the items, and their weighted sums; the memory is zero before and after."""
    most = 0
    for first in firsts:
        if first < len(sizes):
            most += sizes[first]
    found, size = np.empty(most, dtype=np.int64), 0
    for number in range(len(firsts)):
        first = firsts[number]
        if first >= len(sizes):
            continue
        for place in range(starts[first], starts[first] + sizes[first]):
            row = rows[place]
            if memory[row] == 0.0:
                found[size] = row
                size += 1
            memory[row] += weights[number] * counts[place]
    sums = np.empty(size, dtype=np.float64)
    for number in range(size):
        sums[number] = memory[found[number]]
        memory[found[number]] = 0.0
    return found[:size], sums
