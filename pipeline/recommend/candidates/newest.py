"""New items as a candidate source: those that became known last."""

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.online.dense_scores import Values, shortlist
from pipeline.online.item_recency import ItemRecency
from pipeline.recommend.candidates.query import Query

SEARCHED = 64
"""Newest items that are looked at for each one that is wanted, before all that a request admits are compared."""


class NewestItems:
    """Items that became known last, the same for every window: minus the age of each item is its score.

    Args:
        recency: since when each item is known.
    """

    name = "newest"
    most = 20

    def __init__(self, recency: ItemRecency) -> None:
        self._recency = recency

    def scores(self, query: Query) -> "NewestItems":
        """Scores of every window."""
        del query
        return self

    def at(self, rows: Ids) -> Array:
        """(m,) minus the ages of (m,) rows."""
        return -self._recency.ages(rows)

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """See `RankedScores.shortlist`."""
        number = most
        while True:
            number *= 2
            rows = self._recency.newest(number)
            kept = rows[allowed.contains(rows)]
            if len(kept) >= most or len(rows) < number:
                return kept, self.at(kept)
            if allowed.narrowed and number >= SEARCHED * most:
                return shortlist(self.at(allowed.rows), allowed, most, rows=allowed.rows)
