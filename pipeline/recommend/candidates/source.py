"""Interface of candidate sources, and the candidates that they find together."""

import math
from collections.abc import Iterable
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


def best(scores: Scores, allowed: Ids, most: int, least: float) -> Ids:
    """(m,) rows of the best allowed items above `least`, at most `most`, in no order; ties go to the lower row.

    Args:
        scores: (items + 1,) of all items.
        allowed: (a,) ascending rows that may be recommended.
        most: number of rows that are wanted.
        least: exclusive bound of their scores.
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
    return np.concatenate([above, ties[: most - len(above)]])


def union(found: Iterable[Ids]) -> Ids:
    """(m,) rows found by any source, ascending."""
    rows: Ids = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
    return rows
