"""Interface of candidate sources, and the candidates that they find together."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.events.windows import Ids
from pipeline.recommend.candidates.query import Query

Scores = NDArray[np.floating[Any]]
"""(items + 1,) scores of the catalogue rows for one query, higher is better."""


class CandidateSource(Protocol):
    """One way to find items for a window.

    Attributes:
        name: in features, answers and documentation.
        most: number of candidates that it proposes.
        least: lowest score, exclusive, of an item that it has found.
    """

    name: str
    most: int
    least: float

    def scores(self, query: Query) -> Scores:
        """Score every item for a query."""
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
        others = sorted(rows[known:].tolist(), key=self._ids.__getitem__)
        return np.concatenate([rows[:known], np.array(others, dtype=np.int64)])


def best(scores: Scores, allowed: Ids, most: int, least: float, order: TieOrder) -> Ids:
    """(m,) rows of the best allowed items above `least`, at most `most`, in no order.

    Args:
        scores: (items + 1,) of all items.
        allowed: (a,) ascending rows that may be recommended.
        most: number of rows that are wanted.
        least: exclusive bound of their scores.
        order: says which of equal ones come first.
    """
    # Models may lack items that came after the window.
    rows = allowed if len(allowed) and allowed[-1] < len(scores) else allowed[allowed < len(scores)]
    values = scores[rows]
    if least > -math.inf:
        found = values > least
        rows, values = rows[found], values[found]
    if len(rows) <= most:
        return rows
    threshold = np.partition(values, len(values) - most)[len(values) - most]
    above, ties = rows[values > threshold], rows[values == threshold]
    wanted = most - len(above)
    return np.concatenate([above, ties if len(ties) == wanted else order.sorted(ties)[:wanted]])


def union(found: Iterable[Ids], order: TieOrder) -> Ids:
    """(m,) rows found by any source, in the order of ties."""
    return order.sorted(np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found])))
