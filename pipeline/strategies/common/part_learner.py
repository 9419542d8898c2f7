"""What the baselines share that learn after each part of the stream, from what they observed in it."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from pipeline.events.windows import Ids, Windows, concatenate
from pipeline.strategies.base import Scored, StrategyContext, rank_in_batches


class PartLearner(ABC):
    """Scores, puts by what has a history, and learns it at the end of the part.

    Attributes:
        trained_windows: see `Strategy`.
    """

    name: ClassVar[str]

    def __init__(self, context: StrategyContext) -> None:
        self.trained_windows = 0
        self._context = context
        self._part = 0
        self._waiting: list[Windows] = []

    @property
    @abstractmethod
    def kept_bytes(self) -> int:
        """See `Strategy`."""

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        scored = self.score(windows)
        # An empty window says nothing that can be learned.
        self._waiting.append(windows[~windows.cold])
        return scored

    def learn(self) -> None:
        """See `Strategy.learn`."""
        waiting, self._waiting = [w for w in self._waiting if len(w)], []
        self._part += 1
        if waiting:
            self._learn(concatenate(waiting))

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        return rank_in_batches(windows, self._context.config.replay.score_batch, self._answer)

    def close(self) -> None:  # noqa: B027
        """Nothing is held but memory."""

    @property
    def _seed(self) -> int:
        """Of everything random in the training after the current part."""
        return self._context.seed + self._part

    @abstractmethod
    def _learn(self, windows: Windows) -> None:
        """Learn the windows of a part, all with a history and at least one."""

    @abstractmethod
    def _answer(self, contexts: Ids) -> torch.Tensor:
        """(n, length) windows to (n, items + 1) probabilities of what comes next."""
