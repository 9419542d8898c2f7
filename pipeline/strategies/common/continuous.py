"""Mixin of strategies that learn while they serve, after every few events."""

import numpy as np

from pipeline.events.windows import Windows
from pipeline.strategies.base import Scored, batches
from pipeline.strategies.common.interval_learner import IntervalLearner


class Continuous(IntervalLearner):
    """Mixin first in the bases of a class: its update intervals are `gate.batch_size` events long."""

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: each batch is scored, then learned."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for batch, _ in batches(windows, self._context.config.gate.batch_size, self._context.timeline):
            ranks.append(super().observe(batch).ranks)
            super().learn()
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """Nothing is left to learn."""
