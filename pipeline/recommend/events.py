"""Events to be ranked and learned by the second stage, and the rank of a target among candidates."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.events.allowed import Allowed
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids
from pipeline.online.dense_scores import Values
from pipeline.recommend.candidates.query import Query


class Event(NamedTuple):
    """One event to be ranked and learned.

    Attributes:
        query: its window.
        target: catalogue row of the item that was taken.
        allowed: rows that may be recommended, None where the target is no candidate.
    """

    query: Query
    target: int
    allowed: Allowed | None


Retained = Callable[[int, int], Sequence[Event | None]]
"""Number of the first of several events, counted since set-up, and how many they are, to the window of set-up that is
learned beside each of them, None beside most."""


def events_of(queries: Sequence[Query], targets: Ids, existence: Existence) -> list[Event]:
    """Events of n windows with their (n,) targets, by what exists for each."""
    contexts = np.stack([query.context for query in queries])
    candidates = existence.candidates(targets, contexts)
    return [
        Event(query, target, existence.allowed(i, query.context) if candidates[i] else None)
        for i, (query, target) in enumerate(zip(queries, targets.tolist(), strict=True))
    ]


def rank_in(rows: Ids, scores: Values, target: int, allowed: Allowed) -> int:
    """Rank of a target among candidates; half of the ties are ahead.

    A target outside the candidates has the last rank of all items that may be recommended: it is in no list, and what
    is computed from its rank beyond lists, as the reciprocal rank, is a lower bound.
    """
    places = np.flatnonzero(rows == target)
    if not len(places):
        return allowed.count
    own = scores[places[0]]
    return 1 + int(np.count_nonzero(scores > own)) + (int(np.count_nonzero(scores == own)) - 1) // 2
