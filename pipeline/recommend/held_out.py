"""Held-out windows of set-up that the second stage learns beside the stream, so that it forgets less."""

import numpy as np

from pipeline.config import Config
from pipeline.events.windows import Ids
from pipeline.setup.artifacts import SetUp


class HeldOut:
    """Windows that the backbone was not trained on.

    Args:
        setup: where an earlier version wrote it, the windows of its calibration, which lack earlier items.
        config: settings `trend.held_out` and `ranking.retention`.

    Attributes:
        contexts: (n, length) the windows.
        earlier: (n, e) distinct items that left them.
        targets: (n,) the items that were taken.
    """

    def __init__(self, setup: SetUp, config: Config) -> None:
        events, most = setup.events, config.trend.held_out
        indices = events.sample_held_out(most)
        self.contexts, self.targets = events.contexts[indices], events.targets[indices]
        self.earlier = events.earlier[indices]
        if not len(indices):
            self.contexts, self.targets = setup.calibration.sample(most)
            self.earlier = np.zeros((len(self.targets), 0), dtype=np.int32)
        self._every = config.ranking.retention

    def beside(self, counted: int, events: int) -> Ids:
        """(m,) indices of the windows to learn beside the last `events` of the `counted` events."""
        if not self._every or not len(self.targets):
            return np.zeros(0, dtype=np.int64)
        numbers = np.arange(counted - events, counted)
        turns = numbers[numbers % self._every == 0] // self._every
        indices: Ids = turns % len(self.targets)
        return indices
