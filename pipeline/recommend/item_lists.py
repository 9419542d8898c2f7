"""Lists of items that need no user: the newest, those taken most of late, and those similar to another one.

They are read from the counts of the second stage; no model and no adapter takes part.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.events.windows import PADDING, Ids
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.online.dense_scores import DenseScores, Values, shortlist
from pipeline.online.item_recency import ItemRecency
from pipeline.recommend.candidates.neighbours import NeighbourItems
from pipeline.recommend.candidates.newest import NewestItems
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.scores import RankedScores, Shortlisted
from pipeline.recommend.candidates.text import TextNeighbours

DEPTH = 1_000
"""Items of each source that are fused, at least: the scores of a list do not depend on its length."""

FUSED = 60
"""Places added to each place before they are fused: the k of Cormack, Clarke and Buettcher (2009)."""


class FusedScores:
    """Scores of items by their places in the lists of several sources: the sum of 1 / (`FUSED` + place).

    Args:
        sources: name and scores of each.
    """

    def __init__(self, sources: Sequence[tuple[str, RankedScores]]) -> None:
        self._sources = sources

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """See `RankedScores.shortlist`: all items that a source has found."""
        rows, places = [], []
        for _, scores in self._sources:
            found, values = scores.shortlist(allowed, max(most, DEPTH))
            rows.append(found)
            # Equal scores have equal places, so that other rows of the same items give the same list.
            places.append(1 + np.searchsorted(np.sort(-values), -values))
        distinct, index = np.unique(np.concatenate(rows), return_inverse=True)
        fused: Array = np.bincount(index, 1.0 / (FUSED + np.concatenate(places)), minlength=len(distinct)).astype(float)
        return shortlist(fused, allowed, most, rows=distinct)

    def found_by(self, allowed: Allowed) -> Mapping[str, Ids]:
        """Source -> rows of the best of the allowed items by it."""
        return {name: scores.shortlist(allowed, DEPTH)[0] for name, scores in self._sources}


class ItemLists:
    """Lists by the counts of a second stage, as they are.

    Args:
        popularity: item counts.
        recency: ages of items.
        neighbours: items of the same users.
        text: items with texts alike.
    """

    def __init__(
        self, popularity: DecayedPopularity, recency: ItemRecency, neighbours: NeighbourItems, text: TextNeighbours
    ) -> None:
        self._popularity, self._recency = popularity, recency
        self._neighbours, self._text = neighbours, text
        self._newest = NewestItems(recency)

    def trending(self, setup_shares: Array | None) -> Shortlisted:
        """Probabilities by decayed popularity with the shortest half-life.

        Args:
            setup_shares: (regions,) shares of the set-up regions whose users count; None: all users.
        """
        if setup_shares is None:
            return DenseScores(self._popularity.overall_by(0))
        return DenseScores(self._popularity.regional_by(0, setup_shares))

    def newest(self, setup_shares: Array | None) -> Shortlisted:
        """Minus the events since each item was first taken, or became known if it never was.

        Args:
            setup_shares: (regions,) shares of the set-up regions whose users have taken the items; None: any item.
        """
        if setup_shares is None:
            return self._newest
        taken = self._popularity.taken_in(setup_shares)
        ages = self._recency.ages(np.arange(len(taken), dtype=np.int64))
        return DenseScores(np.where(taken, -ages, -np.inf))

    def similar(self, row: int, regions: int) -> FusedScores:
        """Scores of items taken by the same users, and with texts alike.

        Args:
            row: catalogue row of the item.
            regions: number of set-up regions.
        """
        query = Query(np.array([PADDING, row]), np.zeros(0, dtype=np.int64), np.zeros(regions), 1.0, 0.0, {})
        return FusedScores([(source.name, source.scores(query)) for source in (self._neighbours, self._text)])
