"""Base class of baselines that learn at the end of each update interval of the stream."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows, concatenate
from pipeline.strategies.base import Scored, StrategyContext, rank_in_batches


class IntervalLearner(ABC):
    """Strategy that scores windows, collects those with a history, and learns them at the end of the interval.

    Attributes:
        trained_windows: see `Strategy`.
    """

    name: ClassVar[str]

    def __init__(self, context: StrategyContext) -> None:
        self.trained_windows = 0
        self._context = context
        self._interval = 0
        self._pending: list[Windows] = []

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """See `Strategy`."""

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        scored = self.score(windows)
        # An empty window has nothing to learn from.
        self._pending.append(windows[~windows.cold])
        return scored

    def learn(self) -> None:
        """See `Strategy.learn`."""
        pending, self._pending = [w for w in self._pending if len(w)], []
        self._interval += 1
        if pending:
            self._learn(concatenate(pending))

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        context = self._context
        return rank_in_batches(windows, context.config.replay.score_batch, context.timeline, self._probabilities)

    def close(self) -> None:  # noqa: B027
        """Nothing to release."""

    def _existence_after(self, windows: Windows) -> Existence:
        """Items that exist after the last of these windows, for any window."""
        return self._context.timeline.existence(windows.positions[-1:] + 1)

    @property
    def _seed(self) -> int:
        """Seed of all random draws of the training after the current interval."""
        return self._context.seed + self._interval

    @abstractmethod
    def _learn(self, windows: Windows) -> None:
        """Learn the windows of an interval, at least one, all with a history."""

    @abstractmethod
    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        """(n, length) windows to (n, items + 1) probabilities of the next item, among those that exist."""
