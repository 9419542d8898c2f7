"""Compilation of the loops of the online counts before the first event needs them."""

from functools import cache

import numpy as np

from pipeline.events.allowed import Allowed
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.online.dense_scores import shortlist
from pipeline.online.item_neighbours import ItemNeighbours
from pipeline.online.item_transitions import ItemTransitions


@cache
def compile_loops() -> None:
    """Compile them: seconds at the first start on a machine, no time where the result is on disk."""
    one, allowed = np.ones(1, dtype=np.int64), Allowed(np.array([False, True]), np.zeros(0, dtype=np.int64))
    popularity, neighbours = DecayedPopularity(np.ones(2, dtype=np.int64), 1, [1.0], 1.0), ItemNeighbours(1, 1)
    neighbours.resize(1)
    # Counts lie otherwise in memory once there is room for more items.
    for items in (1, 2):
        popularity.resize(items)
        popularity.add(np.ones(1), 1)
        popularity.overall_by(0, one)
        popularity.regional_by(0, np.ones(1), one)
    for counts in (ItemTransitions(1, 1), neighbours):
        counts.add(one, 1)
        scores = counts.scores(one)
        scores.at(one)
        scores.shortlist(allowed, 1)
    shortlist(np.ones(2, dtype=np.float32), allowed, 1)
