"""Scores of all items, and the choice of the best without sorting or copying them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids

Values = NDArray[np.floating[Any]]

GROUPS = 8
"""Groups of scores for each one that is wanted; only the highest of each group is compared."""


class DenseScores:
    """Scores of all items.

    Args:
        values: (items + 1,) by catalogue row.
        least: exclusive bound of the scores of items that may be proposed.
    """

    __slots__ = ("_least", "_values")

    def __init__(self, values: Values, least: float = -math.inf) -> None:
        self._values, self._least = values, least

    def at(self, rows: Ids) -> Values:
        """(m,) scores of (m,) rows."""
        return self._values[rows]

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """Rows and scores of the `most` best items that may be recommended, all ties of the last one, and some more."""
        return shortlist(self._values, allowed, most, self._least)


def shortlist(
    values: Values, allowed: Allowed, most: int, least: float = -math.inf, rows: Ids | None = None
) -> tuple[Ids, Values]:
    """Rows and scores of the best items that may be recommended, all ties of the last one, and some more.

    Args:
        values: (n,) scores.
        allowed: says which items may be recommended.
        most: number of items that are wanted.
        least: exclusive bound of their scores.
        rows: (n,) distinct rows of the scores; None: those from 0.
    """
    wanted = most
    while True:
        wanted *= 2
        threshold = reached_by(values, wanted)
        places = np.flatnonzero(values >= threshold) if threshold > least else np.flatnonzero(values > least)
        listed = places if rows is None else rows[places]
        kept = allowed.contains(listed)
        if threshold <= least or np.count_nonzero(kept) >= most:
            return listed[kept], values[places[kept]]


def reached_by(values: Values, wanted: int) -> float:
    """A score that at least `wanted` of n scores reach, and not many more; -inf where there are not as many.

    Scores are taken in groups, and the `wanted` highest of the groups' highest ones are reached by one score each.
    """
    groups = GROUPS * wanted
    width = len(values) // groups
    highest = values[: width * groups].reshape(width, groups).max(axis=0) if width > 1 else values
    if len(highest) <= wanted:
        return -math.inf
    return float(np.partition(highest, len(highest) - wanted)[len(highest) - wanted])
