"""Decayed popularity: item counts with half-lives, for each set-up region and over all of them.

Counts are updated with every event; nothing is trained. A region with few events is shrunk to the counts over all
regions, and these to the popularity in set-up:

    p(item | region) = (n(item, region) + s p(item)) / (n(region) + s)
    p(item) = (n(item) + s p(item | set-up)) / (n + s)
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.compiled import compiled
from pipeline.events.allowed import Allowed
from pipeline.events.windows import PADDING, Ids
from pipeline.online.popularity_pool import PopularityPool

LARGEST_WEIGHT = 2.0**500
"""Bound of the weight of a new event: weights grow instead of old counts shrinking, and are scaled back beyond it."""

ALL_REGIONS = -1
"""Index of the counts over all regions, beside those of each."""

LEAST_SHARE = 0.1
"""Least share of a region in a window for the window to count in that region."""


LEADING = 4
"""Items of the pool by each half-life, for each one that is wanted."""


class Leading(NamedTuple):
    """Items that can be the most popular by one half-life.

    Attributes:
        rows: (p,) distinct catalogue rows, in no order.
        values: (p,) their decayed popularity.
        bound: decayed popularity that no other item exceeds.
    """

    rows: Ids
    values: Array
    bound: float


class DecayedPopularity:
    """Decayed item counts of each set-up region.

    Args:
        usual: (items + 1,) occurrences of each item of set-up; items that come later have none.
        regions: number of set-up regions.
        half_lives: events after which an event counts half, shortest first.
        shrinkage: pseudo-events of the set-up popularity in every count.
    """

    def __init__(self, usual: NDArray[np.int64], regions: int, half_lives: Sequence[float], shrinkage: float) -> None:
        self._usual = base_probabilities(usual)
        self._of_new = probability_of_new(usual)
        self._shrinkage = shrinkage
        self._growth = 2.0 ** (1.0 / np.array(half_lives, dtype=np.float64))
        self._weight = np.ones(len(half_lives))
        # The last entry is all regions together. Rows with room for more items, and the part of them in use.
        self._room = np.zeros((regions + 1, len(half_lives), len(usual)))
        self._counts = self._room
        self._totals = np.zeros((regions + 1, len(half_lives)))
        self._pool: PopularityPool | None = None
        self._of_pool: tuple[Array, Array] | None = None

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`; it never shrinks."""
        missing = items + 1 - len(self._usual)
        if missing <= 0:
            return
        self._usual = np.concatenate([self._usual, np.full(missing, self._of_new)])
        if items >= self._room.shape[2]:
            room = np.zeros((*self._room.shape[:2], items + 1 + items // 4))
            room[:, :, : self._counts.shape[2]] = self._counts
            self._room = room
        self._counts = self._room[:, :, : items + 1]
        if self._pool is not None:
            self._pool.admit_others(self._of_new)
            self._of_pool = None

    def forget(self, rows: Ids) -> None:
        """Drop the counts of (m,) catalogue rows, which other items may get."""
        self._counts[:, :, rows] = 0.0
        self._of_pool = None

    def regional_by(self, half_life: int, setup_shares: Array, rows: Ids | None = None) -> Array:
        """(m,) decayed popularity of (m,) rows for a window, by one half-life.

        Args:
            half_life: its index.
            setup_shares: (regions,) shares of the set-up regions in the window.
            rows: catalogue rows; all of them unless given.
        """
        pseudo = self._shrinkage * self._weight[half_life]
        counts, totals = self._counts[:, half_life], self._totals[:, half_life]
        asked = np.arange(len(self._usual)) if rows is None else rows
        return _regional(counts, totals, self._usual, counted(setup_shares), pseudo, asked)

    def overall_by(self, half_life: int, rows: Ids | None = None) -> Array:
        """(m,) decayed popularity over all users of (m,) rows, all unless given, by a half-life, given by its index."""
        pseudo, total = self._shrinkage * self._weight[half_life], self._totals[ALL_REGIONS, half_life]
        counts = self._counts[ALL_REGIONS, half_life]
        if rows is not None:
            return _overall(counts, total, self._usual, pseudo, rows)
        overall: Array = (counts + pseudo * self._usual) / (total + pseudo)
        return overall

    def leading(self, half_life: int, most: int) -> Leading:
        """Items among which the most popular ones over all users are, unless these are not above the bound.

        Args:
            half_life: its index.
            most: number of items that are wanted; more are returned.
        """
        pool = self._collected(most)
        if self._of_pool is None:
            weight, totals = self._shrinkage * self._weight, self._totals[ALL_REGIONS]
            counts = self._counts[ALL_REGIONS][:, pool.rows]
            values = (counts + weight[:, None] * self._usual[pool.rows]) / (totals + weight)[:, None]
            bounds = (pool.count_bounds + weight * pool.usual_bound) / (totals + weight)
            self._of_pool = values, bounds
        values, bounds = self._of_pool
        return Leading(pool.rows, values[half_life], float(bounds[half_life]))

    def ranks(self, targets: Sequence[int], allowed: Sequence[Allowed]) -> list[int]:
        """Ranks of items by the popularity over all users with the shortest half-life; half of the ties are ahead.

        Args:
            targets: n catalogue rows, each one allowed.
            allowed: for each, what may be recommended, out of the same existing items.
        """
        if not targets:
            return []
        # Totals are the same for all items.
        scores = self._counts[ALL_REGIONS, 0] + self._shrinkage * self._weight[0] * self._usual
        ordered = np.sort(scores[np.flatnonzero(allowed[0].existing)])
        ahead = len(ordered) - np.searchsorted(ordered, scores[targets], side="right")
        equal = len(ordered) - np.searchsorted(ordered, scores[targets], side="left") - ahead - 1
        for i, (target, of) in enumerate(zip(targets, allowed, strict=True)):
            left_out = scores[of.left_out]
            ahead[i] -= np.count_nonzero(left_out > scores[target])
            equal[i] -= np.count_nonzero(left_out == scores[target])
        ranks: list[int] = (1 + ahead + equal // 2).tolist()
        return ranks

    def add(self, setup_shares: Array, row: int) -> None:
        """Count an event: the item of catalogue row `row`, after a window with (regions,) `setup_shares`."""
        self._weight *= self._growth
        if self._weight.max() > LARGEST_WEIGHT:
            self._counts /= self._weight[:, None]
            self._totals /= self._weight
            self._weight[:] = 1.0
            self._pool = None
        _add(self._counts, self._totals, self._weight, counted(setup_shares), row)
        self._of_pool = None
        if self._pool is not None:
            self._pool.add(row)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the counts, half-life by half-life; `restore` continues from them to the bit."""
        counts, totals = self._counts.swapaxes(0, 1), self._totals.T
        return {"weight": self._weight.copy(), "counts": counts.copy(), "totals": totals.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from the result of `to_arrays`.

        Args:
            arrays: counts over k + 1 catalogue rows of the process that wrote them.
            rows: (k + 1,) row here of each of them, 0 for an item that is not known here.
        """
        self._weight, self._totals = arrays["weight"].copy(), arrays["totals"].T.copy()
        self.resize(int(rows.max(initial=0)))
        self._counts[:] = 0.0
        self._counts[:, :, rows] = arrays["counts"].swapaxes(0, 1)
        self._counts[:, :, PADDING] = 0.0
        self._pool = self._of_pool = None

    def _collected(self, most: int) -> PopularityPool:
        """The pool, collected anew where it is old or too small."""
        if self._pool is None or self._pool.is_old or self._pool.leading < most:
            self._pool, self._of_pool = PopularityPool(self._counts[ALL_REGIONS], self._usual, LEADING * most), None
        return self._pool


def for_other_regions(counted: NDArray[Any], regions: int) -> NDArray[Any]:
    """(half-lives, regions + 1, ...) counts or totals of `to_arrays`, for so many other regions without any yet."""
    no_more = [(0, 0)] * (counted.ndim - 2)
    return np.pad(counted[:, ALL_REGIONS:], [(0, 0), (regions, 0), *no_more])


def base_probabilities(usual: NDArray[np.int64]) -> Array:
    """(items + 1,) counts of set-up as probabilities; an item without a count has a small one."""
    known = np.where(np.arange(len(usual)) == PADDING, 0.0, usual + 1.0 / len(usual))
    probabilities: Array = known / known.sum()
    return probabilities


def probability_of_new(usual: NDArray[np.int64]) -> float:
    """The small probability of an item beyond those of set-up, the same as of one without a count there."""
    return 1.0 / len(usual) / float(usual[1:].sum() + (len(usual) - 1) / len(usual))


def counted(setup_shares: Array) -> Array:
    """(..., regions) counted shares, summing to 1: the least ones are left out unless there are no others."""
    kept = np.where(setup_shares >= LEAST_SHARE, setup_shares, 0.0)
    total = np.add.reduce(kept, axis=-1, keepdims=True)
    return np.where(total > 0.0, kept / np.maximum(total, LEAST_SHARE), setup_shares)


@compiled
def _overall(counts: Array, total: float, usual: Array, pseudo: float, rows: Ids) -> Array:
    """See `DecayedPopularity.overall_by`."""
    overall = np.empty(len(rows), dtype=np.float64)
    for number in range(len(rows)):
        row = rows[number]
        overall[number] = (counts[row] + pseudo * usual[row]) / (total + pseudo)
    return overall


@compiled
def _regional(counts: Array, totals: Array, usual: Array, shares: Array, pseudo: float, rows: Ids) -> Array:
    """See `DecayedPopularity.regional_by`; the last of (regions + 1, items + 1) counts are those of all regions."""
    # Probabilities are linear in the counts: weights of an event of each region, of any, and of set-up.
    regions, own = np.flatnonzero(shares), 0.0
    weights = shares / (totals[:-1] + pseudo)
    for region in regions:
        own += weights[region]
    overall = own * (pseudo / (totals[-1] + pseudo))
    popularity = np.empty(len(rows), dtype=np.float64)
    for number in range(len(rows)):
        row = rows[number]
        of_row = overall * counts[-1, row]
        of_row += overall * pseudo * usual[row]
        for region in regions:
            of_row += weights[region] * counts[region, row]
        popularity[number] = of_row
    return popularity


@compiled
def _add(counts: Array, totals: Array, weight: Array, shares: Array, row: int) -> None:
    """Add the weights of an event in its (regions,) shares to the counts of a row and to the totals, in place."""
    for region in range(len(totals)):
        share = shares[region] if region < len(shares) else 1.0
        for half_life in range(len(weight)):
            counts[region, half_life, row] += share * weight[half_life]
            totals[region, half_life] += share * weight[half_life]
