"""Start of origin prior and second stage from the events of set-up."""

from collections.abc import Callable, Iterator

import numpy as np

from pipeline.events.windows import Ids
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.online_state import OnlineState
from pipeline.recommend.scorer import ScoredBatch
from pipeline.setup.artifacts import SetUp

TOGETHER = 128
"""Events of set-up whose held-out windows are scored together."""

Score = Callable[[Ids, Ids], ScoredBatch]
"""Scores of the set-up's backbone, over the items of set-up: (n, length) windows, and their items since set-up."""


def start(online: OnlineState, setup: SetUp, score: Score) -> None:
    """Count the newest events of set-up, and learn from those that the backbone was not trained on."""
    online.second_stage.begin(_past(online, setup, score))


def _past(online: OnlineState, setup: SetUp, score: Score) -> Iterator[tuple[Query, int, bool]]:
    events, nothing = setup.events, np.zeros(online.regions)
    for first in range(0, len(events.targets), TOGETHER):
        part = np.arange(first, min(first + TOGETHER, len(events.targets)))
        asked = _asked(part[events.held_out[part]], setup, score)
        for i in part.tolist():
            query = asked.get(i) or Query(events.contexts[i], events.earlier[i], nothing, 0.0, 0.0, {})
            yield query, int(events.targets[i]), i in asked


def _asked(indices: Ids, setup: SetUp, score: Score) -> dict[int, Query]:
    """Queries of held-out events, by their index."""
    if not len(indices):
        return {}
    contexts, none = setup.events.contexts[indices], np.zeros(len(indices), dtype=np.int64)
    batch = score(contexts, none)
    queries = batch.queries(setup.bank, contexts, setup.events.earlier[indices], none, batch.posterior.stream)
    return dict(zip(indices.tolist(), queries, strict=True))
