"""Frozen backbone of set-up, the baseline without adaptation."""

from typing import ClassVar

import torch

from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.base import Scored, StrategyContext, rank_in_batches


class Static:
    """Strategy that never learns."""

    name: ClassVar[str] = "static"

    def __init__(self, context: StrategyContext) -> None:
        self.trained_windows = 0
        self._host = AdapterHost(context.grown_backbone(), context.config.adapter)
        self._batch, self._timeline = context.config.replay.score_batch, context.timeline

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the backbone alone."""
        return 0

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        return self.score(windows)

    def learn(self) -> None:
        """Nothing to learn."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        return rank_in_batches(windows, self._batch, self._timeline, self._probabilities)

    def close(self) -> None:
        """Nothing to release."""

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        return next_item_probabilities(self._host, contexts, None, existence)
