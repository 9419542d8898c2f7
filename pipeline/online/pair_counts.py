"""Counts of item pairs, kept in arrays by first item so that those of one item are read without copying."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.online.sparse_scores import RowMemory, SparseScores

NONE: tuple[Ids, Array] = (np.zeros(0, dtype=np.int64), np.zeros(0))


class _Partners:
    """Partners of one item: rows and counts, the first `size` of them in use."""

    __slots__ = ("counts", "place_of", "rows", "size")

    def __init__(self) -> None:
        self.rows: NDArray[np.int64] = np.zeros(4, dtype=np.int64)
        self.counts: Array = np.zeros(4)
        self.place_of: dict[int, int] = {}
        self.size = 0

    @classmethod
    def of(cls, rows: Ids, counts: Array) -> Self:
        """Partners with (k,) counts, each row once."""
        made = cls()
        made.rows, made.counts, made.size = rows.copy(), counts.copy(), len(rows)
        made.place_of = dict(zip(rows.tolist(), range(len(rows)), strict=True))
        return made


class PairCounts:
    """Counts of ordered pairs of catalogue rows.

    Counts are sums of integers, so that what is taken away leaves them exactly as they were.
    """

    def __init__(self) -> None:
        self._partners: dict[int, _Partners] = {}
        self._memory = RowMemory()

    @classmethod
    def summed(cls, firsts: Ids, seconds: Ids, counts: Ids) -> Self:
        """Counts of (n,) pairs with positive counts, as if they were added one by one, in a fraction of the time."""
        made = cls()
        order = np.lexsort((seconds, firsts))
        first, second = firsts[order], seconds[order]
        is_new = np.ones(len(order), dtype=np.bool_)
        is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        starts = np.flatnonzero(is_new)
        sums = np.add.reduceat(counts[order], starts).astype(np.float64) if len(starts) else np.zeros(0)
        items, places = np.unique(first[starts], return_index=True)
        parts = zip(np.split(second[starts], places[1:]), np.split(sums, places[1:]), strict=True)
        made._partners = {item: _Partners.of(*part) for item, part in zip(items.tolist(), parts, strict=False)}
        return made

    def add(self, first: int, second: int, count: int) -> None:
        """Add to the count of a pair; one that falls to zero is removed."""
        partners = self._partners.get(first)
        if partners is None:
            partners = self._partners[first] = _Partners()
        place = partners.place_of.get(second)
        if place is None:
            place = self._new_place(partners, second)
        partners.counts[place] += count
        if partners.counts[place] == 0.0:
            self._remove(first, partners, place)

    def weighted(self, firsts: Ids, weights: Array) -> SparseScores:
        """Sums of weight times count over (n,) items, some perhaps twice, with positive weights, in their order."""
        known = [self._partners.get(first) for first in firsts.tolist()]
        parts = [(partners.rows[: partners.size], partners.counts[: partners.size]) for partners in known if partners]
        if not parts:
            return SparseScores(*NONE, self._memory)
        sizes = [partners.size if partners else 0 for partners in known]
        rows = np.concatenate([rows for rows, _ in parts])
        values = np.repeat(weights, sizes) * np.concatenate([counts for _, counts in parts])
        if len(parts) > 1:
            rows, values = self._memory.sums(rows, values)
        return SparseScores(rows, values, self._memory)

    @staticmethod
    def _new_place(partners: _Partners, second: int) -> int:
        place = partners.size
        if place == len(partners.rows):
            partners.rows = np.concatenate([partners.rows, np.zeros(place, dtype=np.int64)])
            partners.counts = np.concatenate([partners.counts, np.zeros(place)])
        partners.rows[place], partners.counts[place], partners.place_of[second] = second, 0.0, place
        partners.size += 1
        return place

    def _remove(self, first: int, partners: _Partners, place: int) -> None:
        """Move the last pair to a place, and drop what was there."""
        last = partners.size - 1
        moved = int(partners.rows[last])
        del partners.place_of[int(partners.rows[place])]
        if place != last:
            partners.rows[place], partners.counts[place] = moved, partners.counts[last]
            partners.place_of[moved] = place
        partners.size = last
        if not last:
            del self._partners[first]
