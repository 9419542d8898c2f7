"""Item transitions as a candidate source: what was taken after the items of the window, or after the last one."""

import numpy as np

from pipeline.events.windows import PADDING
from pipeline.online.item_transitions import ItemTransitions
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import Scores


class NextItems:
    """Items that followed those of the window.

    Args:
        name: see `CandidateSource`.
        transitions: the counts.
        most: see `CandidateSource`.
        last_only: count what followed the last item of the window alone.
    """

    least = 0.0

    def __init__(self, name: str, transitions: ItemTransitions, most: int, *, last_only: bool = False) -> None:
        self.name, self.most = name, most
        self._transitions, self._last_only = transitions, last_only
        self._items = 0

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        self._items = max(items, self._items)

    def scores(self, query: Query) -> Scores:
        """(items + 1,) sums of counts, 0 for items that never followed."""
        context = query.context
        if self._last_only:
            context = np.where(np.arange(len(context)) == len(context) - 1, context, PADDING)
        return self._transitions.scores(context, self._items)
