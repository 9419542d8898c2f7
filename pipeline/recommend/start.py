"""Start of the second stage from the events of set-up."""

from collections.abc import Iterator

import numpy as np

from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.held_out import Ask
from pipeline.recommend.second_stage import SecondStage
from pipeline.setup.artifacts import SetUp

TOGETHER = 128
"""Events of set-up whose held-out windows are scored together."""


def start(stage: SecondStage, setup: SetUp, ask: Ask, shares: Array) -> None:
    """Count the newest events of set-up, and learn from those that the backbone was not trained on.

    After a refresh the network begins with the weights of the set-up before, if they fit the present settings.

    Args:
        stage: has counted nothing.
        setup: holds the events.
        ask: scores held-out windows, over the items of set-up.
        shares: (regions,) shares of the set-up regions in which the other windows count.
    """
    if setup.ranking and stage.has_weights_like(setup.ranking):
        stage.restore_weights(setup.ranking)
    stage.begin(_past(setup, ask, shares))


def _past(setup: SetUp, ask: Ask, shares: Array) -> Iterator[tuple[Query, int, bool]]:
    events = setup.events
    for first in range(0, len(events.targets), TOGETHER):
        part = np.arange(first, min(first + TOGETHER, len(events.targets)))
        asked = _asked(part[events.held_out[part]], setup, ask)
        for i in part.tolist():
            query = asked.get(i) or Query(events.contexts[i], events.earlier[i], shares, 0.0, 0.0, {})
            yield query, int(events.targets[i]), i in asked


def _asked(indices: Ids, setup: SetUp, ask: Ask) -> dict[int, Query]:
    """Queries of held-out events, by their index."""
    if not len(indices):
        return {}
    events, of_setup = setup.events, Existence.of_all(len(setup.catalogue))
    queries = ask(events.contexts[indices], events.earlier[indices], np.zeros(len(indices), dtype=np.int64), of_setup)
    return dict(zip(indices.tolist(), queries, strict=True))
