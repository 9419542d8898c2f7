"""Ways: how far an answer goes from the model to the trend.

Stations are answers to one window: that of the model alone, what was learned of model and trend, and, where the window
holds anything taken since set-up, what followed its items alone: of late, or in all events that are counted, set-up's
included. An answer lies between two of them.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.metrics.ranking import LIST_LENGTH

GRID = np.array(
    [[1.0 - s, s, 0.0, 0.0] for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
    + [[0.0, 1.0 - s, s, 0.0] for s in (0.2, 0.4, 0.6, 0.8)]
    + [[0.0, 1.0 - s, 0.0, s] for s in (0.2, 0.4, 0.6, 0.8)]
)
"""(points, 4) share of each component in an answer: the model alone, the learned mixture, recent item transitions, and
set-up and recent item transitions together."""

_LEARNED = 4
"""The way that stops at what was learned."""

_BETWEEN = ((0, 1, slice(0, 5)), (1, 2, slice(5, 9)), (1, 3, slice(9, 13)))
"""Two stations, and the ways that lie between them."""


def hits_of(components: Array, target: int, excluded: Ids) -> list[bool]:
    """By which of `GRID` a target would be in the list.

    Args:
        components: (4, items + 1) the answers there, or the first two of them for a window as in set-up, which goes no
            further.
        target: catalogue row.
        excluded: (m,) rows that are not recommended.
    """
    ahead = components > components[:, target, None]
    ahead[:, excluded] = False
    hits = np.zeros(len(GRID), dtype=np.bool_)
    for one, other, points in _BETWEEN[: len(components) - 1]:
        # Who is ahead of the target at both stations is ahead of it wherever an answer lies between them.
        if np.count_nonzero(ahead[one] & ahead[other]) < LIST_LENGTH:
            hits[points] = _listed(GRID[points][:, [one, other]], components[[one, other]], target, excluded)
    if len(components) == 2:
        hits[_LEARNED + 1 :] = hits[_LEARNED]
    listed: list[bool] = hits.tolist()
    return listed


def _listed(points: Array, both: Array, target: int, excluded: Ids) -> NDArray[np.bool_]:
    """(points,) whether the target is in the list of (points, 2) mixtures of two stations."""
    before = both - both[:, [target]]
    # Others are behind it at both.
    near = np.logical_or(*(before >= 0.0))
    near[excluded] = near[target] = False
    before = points @ before[:, near]
    ranks = 1 + (before > 0.0).sum(axis=1) + (before == 0.0).sum(axis=1) // 2
    listed: NDArray[np.bool_] = ranks <= LIST_LENGTH
    return listed
