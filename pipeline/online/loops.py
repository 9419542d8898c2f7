"""Compilation of the loops of the online counts before the first event needs them."""

from functools import cache

import numpy as np

from pipeline.events.allowed import Allowed
from pipeline.online.dense_scores import shortlist
from pipeline.online.pair_counts import PairCounts


@cache
def compile_loops() -> None:
    """Compile them: seconds at the first start on a machine, no time where the result is on disk."""
    one, allowed = np.ones(1, dtype=np.int64), Allowed(np.array([False, True]), np.zeros(0, dtype=np.int64))
    counts = PairCounts()
    counts.add(one, one, one)
    scores = counts.weighted(one, np.ones(1))
    scores.at(one)
    scores.shortlist(allowed, 1)
    shortlist(np.ones(2, dtype=np.float32), allowed, 1)
