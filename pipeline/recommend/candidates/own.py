"""The user's own items as a candidate source, where repeats are allowed: those taken last first."""

import numpy as np

from pipeline.events.windows import PADDING
from pipeline.online.sparse_scores import RowMemory, SparseScores
from pipeline.recommend.candidates.query import Query


class OwnItems:
    """Newest items of the user's history.

    Args:
        length: items of a history, all of which are candidates.
    """

    name = "own"

    def __init__(self, length: int) -> None:
        self.most, self._memory = length, RowMemory()

    def scores(self, query: Query) -> SparseScores:
        """1 / (1 + age) of each item in the history, the newest having age 0."""
        history = query.history(self.most)
        taken = np.ascontiguousarray(history[history != PADDING][::-1])
        memory = self._memory.up_to(int(taken.max(initial=0)))
        return SparseScores(taken, 1.0 / (1.0 + np.arange(len(taken), dtype=np.float64)), memory)
