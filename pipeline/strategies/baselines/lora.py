"""One adapter for everyone: LoRA with and without item rows, with and without replay."""

from typing import ClassVar

import torch

from adapters_store import version_name
from pipeline.events.windows import Ids, Windows
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.adapter_learner import AdapterLearner
from pipeline.strategies.common.set_up_replay import with_replay


class Lora(AdapterLearner):
    """LoRA on attention and feed-forward layers; items stay as they were set up; no replay.

    Attributes:
        replayed: set-up windows replayed for each new one.
    """

    name: ClassVar[str] = "lora"
    item_rows = False
    replayed: ClassVar[float] = 0.0

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._adapter: str | None = None

    def _learn(self, windows: Windows) -> None:
        learned = with_replay(windows, self._context.learned, self.replayed, (self._context.seed, self._part))
        name = version_name(1, self._part)
        self._create(name, windows, self._adapter, self._seed)
        self._train(name, learned)
        if self._adapter:
            self._host.drop(self._adapter)
        self._adapter = name

    def _train(self, name: str, windows: Windows) -> None:
        self._fit(name, windows, self._seed)

    def _answer(self, contexts: Ids) -> torch.Tensor:
        return next_item_probabilities(self._host, contexts, self._adapter)


class LoraFrozenReplay(Lora):
    """LoRA without item rows, one set-up window replayed for each new one."""

    name: ClassVar[str] = "lora_frozen_replay"
    replayed = 1.0


class LoraRows(Lora):
    """LoRA and item rows, no replay."""

    name: ClassVar[str] = "lora_rows"
    item_rows = True


class LoraReplay(Lora):
    """LoRA and item rows, one set-up window replayed for each new one."""

    name: ClassVar[str] = "lora_replay"
    item_rows = True
    replayed = 1.0


class SingleAdapter(LoraRows):
    """RAIE with one region: one adapter for everyone, always on, the same windows, no replay.

    Seen from RAIE that is one region, seen from LoRA it is `lora_rows`: the two are the same by construction, and
    a test says so.
    """

    name: ClassVar[str] = "raie_k1"
