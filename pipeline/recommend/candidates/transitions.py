"""Item transitions as a candidate source: what was taken after the items of the window, or after the last one."""

import numpy as np

from pipeline.events.windows import PADDING
from pipeline.online.item_transitions import ItemTransitions
from pipeline.online.sparse_scores import SparseScores
from pipeline.recommend.candidates.query import Query


class NextItems:
    """Items that followed those of the window.

    Args:
        name: see `CandidateSource`.
        transitions: the counts.
        most: see `CandidateSource`.
    """

    def __init__(self, name: str, transitions: ItemTransitions, most: int) -> None:
        self.name, self.most, self._transitions = name, most, transitions

    def scores(self, query: Query) -> SparseScores:
        """Sums of counts."""
        return self._transitions.scores(query.taken_context)


class NextOfLast:
    """Items that followed the last one of the window; it proposes nothing.

    Args:
        name: see `CandidateSource`.
        transitions: the counts.
    """

    def __init__(self, name: str, transitions: ItemTransitions) -> None:
        self.name, self._transitions = name, transitions

    def scores(self, query: Query) -> SparseScores:
        """Sums of counts."""
        last = np.full(len(query.context), PADDING)
        last[-1] = query.taken_context[-1]
        return self._transitions.scores(last)
