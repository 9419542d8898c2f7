"""LSAT: mixture of a long-term adapter and a short-term one."""

from typing import ClassVar

import torch

from adapters_store import version_name
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.adapter_learner import AdapterLearner

LONG, SHORT = 1, 2


class Lsat(AdapterLearner):
    """Long- and short-term adapters (after Shi et al., 2024), both with item rows, without replay.

    The long-term adapter continues its training in every update interval; the short-term one starts anew in each. The
    training cost is that of two adapters. Scores are computed without dropout.

    Attributes:
        alpha: weight of the long-term adapter; the short-term one has 1 - alpha.
    """

    name: ClassVar[str] = "lsat"
    alpha: ClassVar[float] = 0.6

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._long: str | None = None
        self._short: str | None = None

    def _learn(self, windows: Windows) -> None:
        long, short = version_name(LONG, self._interval), version_name(SHORT, self._interval)
        for name, parent in ((long, self._long), (short, None)):
            self._create(name, windows, parent, self._seed)
            self._fit(name, windows, self._seed)
        for dropped in (self._long, self._short):
            if dropped:
                self._host.drop(dropped)
        self._long, self._short = long, short

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        names = (self._long, self._short)
        long, short = (next_item_probabilities(self._host, contexts, name, existence) for name in names)
        return self.alpha * long + (1.0 - self.alpha) * short
