"""The user's own items as a candidate source, where repeats are allowed: those taken last first."""

import numpy as np

from pipeline.events.windows import PADDING
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import Scores


class OwnItems:
    """Newest items of the user's history.

    Args:
        length: items of a history, all of which are candidates.
    """

    name = "own"
    least = 0.0

    def __init__(self, length: int) -> None:
        self.most = length
        self._items = 0

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        self._items = max(items, self._items)

    def scores(self, query: Query) -> Scores:
        """(items + 1,) 1 / (1 + age) of each item in the history, the newest having age 0; 0 for others."""
        scores = np.zeros(self._items + 1)
        history = query.history(self.most)
        taken = history[history != PADDING][::-1]
        scores[taken] = 1.0 / (1.0 + np.arange(len(taken)))
        return scores
