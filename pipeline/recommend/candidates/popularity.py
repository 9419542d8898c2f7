"""Decayed popularity as a candidate source: over all users, and of the window's set-up regions."""

import numpy as np

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.events.windows import PADDING, Ids
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.online.dense_scores import Values, shortlist
from pipeline.recommend.candidates.query import Query


class PopularItems:
    """Items taken most often of late, by one half-life, the same for every window.

    Only the leading items are compared; all are where these do not suffice, as where most of them are withdrawn, or all
    that a request admits.

    Args:
        popularity: the counts.
        index: of the half-life.
        half_life: events.
        most: see `CandidateSource`.
    """

    def __init__(self, popularity: DecayedPopularity, index: int, half_life: float, most: int) -> None:
        self.name, self.most = f"popularity_{half_life:g}", most
        self._popularity, self._index = popularity, index

    @property
    def highest(self) -> float:
        """Highest probability of any item, 0 without items."""
        leading = self._popularity.leading(self._index, self.most)
        highest = float(leading.values[leading.rows != PADDING].max(initial=0.0))
        return highest if highest >= leading.bound else float(self._all()[PADDING + 1 :].max(initial=0.0))

    def scores(self, query: Query) -> "PopularItems":
        """Scores of every window."""
        del query
        return self

    def at(self, rows: Ids) -> Array:
        """(m,) probabilities of (m,) rows."""
        return self._popularity.overall_by(self._index, rows)

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """See `RankedScores.shortlist`."""
        leading = self._popularity.leading(self._index, most)
        rows, values = shortlist(leading.values, allowed, most, rows=leading.rows)
        if np.count_nonzero(values > leading.bound) >= most:
            return rows, values
        if allowed.narrowed:
            return shortlist(self.at(allowed.rows), allowed, most, rows=allowed.rows)
        return shortlist(self._all(), allowed, most)

    def _all(self) -> Array:
        return self._popularity.overall_by(self._index)


class RegionalScores:
    """Probabilities by decayed popularity after windows of the same set-up regions.

    Args:
        popularity: the counts.
        index: of the half-life.
        setup_shares: (regions,) shares of the set-up regions in the window.
    """

    def __init__(self, popularity: DecayedPopularity, index: int, setup_shares: Array) -> None:
        self._popularity, self._index, self._setup_shares = popularity, index, setup_shares

    def at(self, rows: Ids) -> Array:
        """(m,) probabilities of (m,) rows."""
        return self._popularity.regional_by(self._index, self._setup_shares, rows)


class RegionalPopularity:
    """Popularity of late after windows of the same set-up regions, by one half-life; it proposes nothing.

    Args:
        popularity: the counts.
        index: of the half-life.
    """

    name = "popularity_region"

    def __init__(self, popularity: DecayedPopularity, index: int) -> None:
        self._popularity, self._index = popularity, index

    def scores(self, query: Query) -> RegionalScores:
        """Probabilities."""
        return RegionalScores(self._popularity, self._index, query.setup_shares)
