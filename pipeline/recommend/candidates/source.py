"""Interface of candidate sources, and the candidates that they find together."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from pipeline.arrays import distinct
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.online.sparse_scores import SparseScores
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.scores import RankedScores


class CandidateSource(Protocol):
    """One way to find items for a window.

    Attributes:
        name: in features, answers and documentation.
        most: number of candidates that it proposes.
    """

    name: str
    most: int

    def scores(self, query: Query) -> RankedScores:
        """Score items for a query."""
        ...


class SparseSource(Protocol):
    """A source that has evidence for few items.

    Attributes:
        name: in features, answers and documentation.
    """

    name: str

    def scores(self, query: Query) -> SparseScores:
        """Score items for a query."""
        ...


class TieOrder:
    """Order of items with equal scores, the same in processes with other rows: those of set-up, then others by id.

    Args:
        last: highest row of set-up; up to it rows are the same everywhere.
        ids: id of every row.
    """

    def __init__(self, last: int, ids: Sequence[str]) -> None:
        self._last, self._ids = last, ids

    def sorted(self, rows: Ids) -> Ids:
        """(m,) ascending rows in this order."""
        known = int(np.searchsorted(rows, self._last, side="right"))
        if known == len(rows):
            return rows
        others = sorted(rows[known:].tolist(), key=self._ids.__getitem__)
        return np.concatenate([rows[:known], np.array(others, dtype=np.int64)])


def best(scores: RankedScores, allowed: Allowed, most: int, order: TieOrder) -> Ids:
    """(m,) rows of the best items that may be recommended, at most `most`, in no order.

    Args:
        scores: of one source.
        allowed: items that may be recommended.
        most: number of rows that are wanted.
        order: says which of equal ones come first.
    """
    rows, values = scores.shortlist(allowed, most)
    if len(rows) <= most:
        return rows
    threshold = np.partition(values, len(values) - most)[len(values) - most]
    above, ties = rows[values > threshold], rows[values == threshold]
    wanted = most - len(above)
    return np.concatenate([above, ties if len(ties) == wanted else order.sorted(np.sort(ties))[:wanted]])


def union(found: Iterable[Ids], order: TieOrder) -> Ids:
    """(m,) rows found by any source, in the order of ties."""
    return order.sorted(distinct(np.concatenate([np.zeros(0, dtype=np.int64), *found])))
