"""Candidates of one window: as they are found, and with their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.candidate_scores import CandidateScores
from pipeline.events.windows import Ids
from pipeline.recommend.ranking.features import Described, FeatureTable
from pipeline.recommend.ranking.network import RankedList


@dataclass(frozen=True)
class Candidates:
    """Candidates of one window.

    Attributes:
        rows: (m,) in the order of ties, see `TieOrder`.
        experts: model -> (m,) log probabilities, in half precision.
        features: (m, features).
        taken_before: (m,) 1 for items that the user took before, else 0.
        distinct: number of distinct items that the user took, as far as they are remembered.
        found_by: source -> rows that it proposed; empty where it was not asked.
    """

    rows: Ids
    experts: Mapping[str, Array]
    features: NDArray[np.float32]
    taken_before: Array
    distinct: int
    found_by: Mapping[str, Ids]

    def to_scores(self) -> CandidateScores:
        """Return what cannot be computed again, for the record of the event."""
        return CandidateScores.of(self.rows, self.experts, self.taken_before, self.distinct)

    def sources_of(self, row: int) -> tuple[str, ...]:
        """Sources that proposed a candidate."""
        return tuple(source for source, rows in self.found_by.items() if row in rows)

    def list_of(self, target: int) -> RankedList | None:
        """The list for learning; None where the target is not among the candidates."""
        places = np.flatnonzero(self.rows == target)
        return RankedList(self.features, int(places[0])) if len(places) else None


class Found(NamedTuple):
    """Candidates of one window whose features are still to be computed; see `Candidates`.

    Attributes:
        described: what the features follow from.
    """

    rows: Ids
    experts: Mapping[str, Array]
    taken_before: Array
    distinct: int
    found_by: Mapping[str, Ids]
    described: Described


def with_features(table: FeatureTable, found: Sequence[Found]) -> list[Candidates]:
    """Candidates of n windows, whose features are computed together."""
    if not found:
        return []
    features = table.of([one.described for one in found])
    return [
        Candidates(one.rows, one.experts, of, one.taken_before, one.distinct, one.found_by)
        for one, of in zip(found, features, strict=True)
    ]


def lists_of(candidates: Sequence[Candidates], targets: Sequence[int]) -> list[RankedList]:
    """Lists for learning, of those of n windows whose target is among the candidates."""
    lists = [one.list_of(target) for one, target in zip(candidates, targets, strict=True)]
    return [one for one in lists if one is not None]
