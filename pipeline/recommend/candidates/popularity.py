"""Decayed popularity as a candidate source: over all users, and of the window's set-up regions."""

import math

import numpy as np

from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import Scores


class PopularItems:
    """Items taken most often of late, by one half-life.

    Args:
        popularity: the counts.
        index: of the half-life.
        half_life: events.
        most: see `CandidateSource`.
    """

    least = -math.inf

    def __init__(self, popularity: DecayedPopularity, index: int, half_life: float, most: int) -> None:
        self.name, self.most = f"popularity_{half_life:g}", most
        self._popularity, self._index = popularity, index

    def scores(self, query: Query) -> Scores:
        """(items + 1,) probabilities."""
        del query
        return self._popularity.overall_by(self._index)


class RegionalItems:
    """Items taken most often of late after windows of the same set-up regions, by one half-life.

    Args:
        popularity: the counts.
        index: of the half-life.
        half_lives: their number.
        most: see `CandidateSource`.
    """

    name = "popularity_region"
    least = -math.inf

    def __init__(self, popularity: DecayedPopularity, index: int, half_lives: int, most: int) -> None:
        self.most, self._popularity = most, popularity
        self._weights = np.eye(half_lives)[None, index : index + 1]

    def scores(self, query: Query) -> Scores:
        """(items + 1,) probabilities."""
        scores: Scores = self._popularity.blended(query.setup_shares[None], self._weights)[0, 0]
        return scores
