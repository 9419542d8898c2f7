"""Trend: what is taken of late, counted with half-lives, for each taste and over all.

Counts are the one part of the pipeline that follows the stream event by event; nothing is trained. A taste
that was seen little is shrunk to the counts over all, and these to what was usual in set-up:

    p(item | taste) = (n(item, taste) + s p(item)) / (n(taste) + s)
    p(item) = (n(item) + s p(item | set-up)) / (n + s)
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array
from pipeline.events.windows import PADDING, Ids
from pipeline.online.popularity_batch import PopularityBatch

LARGEST_WEIGHT = 2.0**500
"""Weights of new events grow instead of old counts shrinking; beyond this all are scaled back."""

ALL_TASTES = -1
"""Where counts over all tastes are, beside those of each."""

LEAST_SHARE = 0.1
"""A window counts for the tastes that have at least this share of it."""

LARGEST_LIFT = 3.0
"""In which lifts are cut off: a single item that nobody knew must not outweigh a whole window."""


class _Worth(NamedTuple):
    """What counts are worth to n windows: all that is blended is linear in them.

    Attributes:
        windows, setup_shares: (m,) a window, and a taste that counts for it.
        own: (m, half_lives) of one event of that taste to that window.
        overall: (n, half_lives) of one event of any taste.
        usual: (n, half_lives) of what is usual.
    """

    windows: Ids
    setup_shares: Ids
    own: Array
    overall: Array
    usual: Array


class DecayedPopularity:
    """Fading item counts of each taste.

    Args:
        usual: (items + 1,) how often set-up met each item.
        setup_shares: number of set-up regions.
        half_lives: events after which an event counts half, shortest first.
        shrinkage: events' worth of what is usual in every count.
    """

    def __init__(
        self, usual: NDArray[np.int64], setup_shares: int, half_lives: Sequence[float], shrinkage: float
    ) -> None:
        self._usual = base_probabilities(usual)
        self._shrinkage = shrinkage
        self._growth = 2.0 ** (1.0 / np.array(half_lives, dtype=np.float64))
        self._weight = np.ones(len(half_lives))
        # The last taste is all of them.
        self._counts = np.zeros((setup_shares + 1, len(half_lives), len(usual)))
        self._totals = np.zeros((setup_shares + 1, len(half_lives)))
        self._table: PopularityBatch | None = None

    def blended(self, setup_shares: Array, weights: Array) -> Array:
        """What is taken of late by users of these tastes, by k weightings of the half-lives.

        Args:
            setup_shares: (n, setup_shares) shares of the set-up regions in each window.
            weights: (n, k, half_lives) of each window.

        Returns:
            (n, k, items + 1) probabilities, each row times the sum of its weights.
        """
        worth = self._worth(setup_shares)
        blended: Array = (weights * worth.overall[:, None]) @ self._counts[ALL_TASTES]
        blended += (weights @ worth.usual[:, :, None]) * self._usual
        for window, taste, own in zip(worth.windows, worth.setup_shares, worth.own, strict=True):
            blended[window] += (weights[window] * own) @ self._counts[taste]
        return blended

    def blend_in(self, answers: Tensor, setup_shares: Array, weights: Array) -> None:
        """Add to (n, items + 1) answers what is taken of late, in place and in their single precision.

        Args:
            answers: to n windows.
            setup_shares: (n, setup_shares) shares of the set-up regions in each.
            weights: (n, half_lives) of each.
        """
        if self._table is None:
            self._table = PopularityBatch(self._counts, self._weight, self._usual)
        worth = self._worth(setup_shares)
        shared = np.column_stack([weights * worth.overall, (weights * worth.usual).sum(axis=1)])
        self._table.add(answers, worth.windows, worth.setup_shares, weights[worth.windows] * worth.own, shared)

    def probabilities_of(self, shares: Array, rows: Ids) -> Array:
        """What each half-life gives to one row for each of k windows.

        Args:
            shares: (k, setup_shares) what of each window's tastes is counted, see `counted`.
            rows: (k,) of the catalogue.

        Returns:
            (k, half_lives) probabilities.
        """
        weight = self._shrinkage * self._weight[:, None]
        expected = self._counts[:-1, :, rows] + weight * self._overall(rows)
        terms = expected * (shares.T[:, None] / (self._totals[:-1, :, None] + weight))
        probabilities: Array = np.add.reduce(terms, axis=0)
        return probabilities.T

    def overall(self) -> Array:
        """(half_lives, items + 1) probabilities of what anybody takes of late."""
        return self._overall(slice(None))

    def lifts(self, contexts: Ids) -> Array:
        """How much more the items of windows are taken of late than in set-up.

        Args:
            contexts: (n, length) windows.

        Returns:
            (n,) mean log ratio over the items of each, -1 to 1; 0 for an empty window.
        """
        floor, weight, usual = 0.1 / len(self._usual), self._shrinkage * self._weight[0], self._usual[contexts]
        overall = (self._counts[ALL_TASTES, 0, contexts] + weight * usual) / (self._totals[ALL_TASTES, 0] + weight)
        present = contexts != PADDING
        ratio = np.log((overall + floor) / (usual + floor)) * present
        mean = np.add.reduce(ratio, axis=1) / np.maximum(np.add.reduce(present, axis=1), 1)
        lifts: Array = np.minimum(np.maximum(mean, -LARGEST_LIFT), LARGEST_LIFT) / LARGEST_LIFT
        return lifts

    def add(self, setup_shares: Array, row: int) -> None:
        """Count an event: the item of catalogue row `row`, taken from a window of these tastes."""
        self._weight *= self._growth
        if self._weight.max() > LARGEST_WEIGHT:
            self._counts /= self._weight[:, None]
            self._totals /= self._weight
            self._weight[:] = 1.0
        added = np.append(counted(setup_shares), 1.0)[:, None] * self._weight
        self._counts[:, :, row] += added
        self._totals += added
        if self._table is not None:
            self._table.follow(self._counts, self._weight, row)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The counts so far, half-life by half-life; `restore` continues from them to the bit."""
        counts, totals = self._counts.swapaxes(0, 1), self._totals.T
        return {"weight": self._weight.copy(), "counts": counts.copy(), "totals": totals.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `to_arrays` gave."""
        self._weight, self._totals = arrays["weight"].copy(), arrays["totals"].T.copy()
        self._counts = arrays["counts"].swapaxes(0, 1).copy()
        self._table = None

    def _worth(self, setup_shares: Array) -> "_Worth":
        """Of counts to n windows with (n, setup_shares) shares."""
        shares, pseudo = counted(setup_shares), self._shrinkage * self._weight
        windows, used = shares.nonzero()
        own = shares[windows, used, None] / (self._totals[used] + pseudo)
        overall = np.zeros((len(setup_shares), len(pseudo)))
        np.add.at(overall, windows, own)
        overall *= pseudo / (self._totals[ALL_TASTES] + pseudo)
        return _Worth(windows, used, own, overall, overall * pseudo)

    def _overall(self, rows: NDArray[np.int64] | slice) -> Array:
        """(half_lives, rows) probabilities over all tastes."""
        weight = self._shrinkage * self._weight[:, None]
        counts, totals = self._counts[ALL_TASTES][:, rows], self._totals[ALL_TASTES][:, None]
        overall: Array = (counts + weight * self._usual[rows]) / (totals + weight)
        return overall


def base_probabilities(usual: NDArray[np.int64]) -> Array:
    """(items + 1,) counts of set-up as probabilities; an item that it never met is not impossible, only unusual."""
    known = np.where(np.arange(len(usual)) == PADDING, 0.0, usual + 1.0 / len(usual))
    probabilities: Array = known / known.sum()
    return probabilities


def counted(setup_shares: Array) -> Array:
    """(..., setup_shares) what of windows' shares is counted: the least ones are not, unless there are no others."""
    kept = np.where(setup_shares >= LEAST_SHARE, setup_shares, 0.0)
    total = np.add.reduce(kept, axis=-1, keepdims=True)
    return np.where(total > 0.0, kept / np.maximum(total, LEAST_SHARE), setup_shares)
