"""Held-out windows of set-up that the second stage learns beside the stream, so that it forgets less."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, no_earlier
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.events import Event, events_of
from pipeline.setup.artifacts import SetUp

Ask = Callable[[Ids, NDArray[np.int32], Ids, Existence], list[Query]]
"""Scores n windows by the models in force: (n, length) windows, (n, e) earlier items, (n,) numbers of items taken since
set-up, and which items exist."""


class HeldOut:
    """Windows that the backbone was not trained on.

    Args:
        setup: where an earlier version wrote it, the windows of its calibration, which lack earlier items.
        config: settings `trend.held_out` and `ranking.retention`.
        ask: scores them.
    """

    def __init__(self, setup: SetUp, config: Config, ask: Ask) -> None:
        events, most = setup.events, config.trend.held_out
        indices = events.sample_held_out(most)
        self._contexts, self._targets = events.contexts[indices], events.targets[indices]
        self._earlier = events.earlier[indices]
        if not len(indices):
            self._contexts, self._targets = setup.calibration.sample(most)
            self._earlier = no_earlier(len(self._targets))
        self._every, self._ask = config.ranking.retention, ask

    def beside(self, first: int, events: int, existence: Existence) -> list[Event | None]:
        """Windows to learn beside events, under the models in force.

        Args:
            first: number of the first event, counted since set-up.
            events: number of events.
            existence: the same for every window.

        Returns:
            The window beside each event, None beside most of them.
        """
        beside: list[Event | None] = [None] * events
        if not self._every or not len(self._targets):
            return beside
        numbers = np.arange(first, first + events)
        learned = np.flatnonzero(numbers % self._every == 0)
        if len(learned):
            turns = numbers[learned] // self._every % len(self._targets)
            contexts, targets = self._contexts[turns], self._targets[turns]
            queries = self._ask(contexts, self._earlier[turns], np.zeros(len(turns), dtype=np.int64), existence)
            for place, event in zip(learned.tolist(), events_of(queries, targets, existence), strict=True):
                beside[place] = event
        return beside
