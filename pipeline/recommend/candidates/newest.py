"""New items as a candidate source: those that became known last."""

import math

from pipeline.online.item_recency import ItemRecency
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import Scores


class NewestItems:
    """Items that became known last.

    Args:
        recency: since when each item is known.
    """

    name = "newest"
    most = 20
    least = -math.inf

    def __init__(self, recency: ItemRecency) -> None:
        self._recency = recency

    def scores(self, query: Query) -> Scores:
        """(items + 1,) minus the age of each item."""
        del query
        return -self._recency.ages()
