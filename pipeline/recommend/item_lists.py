"""Lists of items that need no user: the newest, those taken most of late, and those similar to another one.

They are read from the counts of the second stage; no model and no adapter takes part.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
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
        shrinkage: pseudo-events of all users beside those of some.
        recency: ages of items.
        neighbours: items of the same users.
        text: items with texts alike.
    """

    def __init__(
        self,
        popularity: DecayedPopularity,
        shrinkage: float,
        recency: ItemRecency,
        neighbours: NeighbourItems,
        text: TextNeighbours,
    ) -> None:
        self._popularity, self._shrinkage, self._recency = popularity, shrinkage, recency
        self._neighbours, self._text = neighbours, text
        self._newest = NewestItems(recency)

    def trending(self, rows: Ids, weights: Array) -> Shortlisted:
        """Probabilities by decayed popularity with the shortest half-life, beside events of some users.

        Args:
            rows: (m,) distinct rows that these users took; none: all users count alike.
            weights: (m,) decayed numbers of their events.
        """
        probabilities, total = self._popularity.overall_by(0), self._shrinkage + weights.sum()
        probabilities *= self._shrinkage / total
        probabilities[rows] += weights / total
        return DenseScores(probabilities)

    def newest(self, rows: Ids | None) -> Shortlisted:
        """Minus the events since each item was first taken, or became known if it never was.

        Args:
            rows: (m,) distinct rows of the items that may be listed; None: any item.
        """
        if rows is None:
            return self._newest
        ages = np.full(len(self._recency.counts), np.inf)
        ages[rows] = self._recency.ages(rows)
        return DenseScores(-ages)

    def similar(self, row: int) -> FusedScores:
        """Scores of items taken by the same users as the item of a catalogue row, and with texts alike."""
        query = Query(np.array([row]), np.zeros(0, dtype=np.int64), np.zeros(0), 1.0, 0.0, {})
        return FusedScores([(source.name, source.scores(query)) for source in (self._neighbours, self._text)])
