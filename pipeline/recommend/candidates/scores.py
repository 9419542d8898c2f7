"""Interface of the scores of one window: a candidate source and a model have them."""

from typing import Protocol

from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.online.dense_scores import Values


class Scores(Protocol):
    """Scores of items for one query; they hold until the next event is counted."""

    def at(self, rows: Ids) -> Values:
        """(m,) scores of (m,) rows."""
        ...


class Shortlisted(Protocol):
    """Scores of which the best are found."""

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """Rows and scores of the best items that may be recommended.

        Args:
            allowed: says which these are.
            most: number of items that are wanted.

        Returns:
            (k,) distinct rows in any order and their (k,) scores: at least the `most` best with all ties of the last
            one, or all that the source has found.
        """
        ...


class RankedScores(Scores, Shortlisted, Protocol):
    """Scores of which the best are found without looking at all."""
