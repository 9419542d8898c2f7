"""Single adapter for all users: LoRA with and without item rows, with and without replay."""

from typing import ClassVar

import torch

from adapters_store import version_name
from adapters_store.manifest import MAX_NUMBER
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.adapter_learner import AdapterLearner
from pipeline.strategies.common.set_up_replay import with_replay


class Lora(AdapterLearner):
    """LoRA on attention and feed-forward layers, with fixed item rows and without replay.

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
        learned = with_replay(windows, self._context.learned, self.replayed, (self._context.seed, self._interval))
        # Names are taken again: one adapter at a time is in force.
        name = version_name(1, self._interval % MAX_NUMBER)
        self._create(name, windows, self._adapter, self._seed)
        self._train(name, learned)
        if self._adapter:
            self._host.drop(self._adapter)
        self._adapter = name

    def _train(self, name: str, windows: Windows) -> None:
        self._fit(name, windows, self._seed)

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        return next_item_probabilities(self._host, contexts, self._adapter, existence)


class LoraFrozenReplay(Lora):
    """LoRA without item rows, with one replayed set-up window for each new one."""

    name: ClassVar[str] = "lora_frozen_replay"
    replayed = 1.0


class LoraRows(Lora):
    """LoRA with item rows, without replay."""

    name: ClassVar[str] = "lora_rows"
    item_rows = True


class LoraReplay(Lora):
    """LoRA with item rows, with one replayed set-up window for each new one."""

    name: ClassVar[str] = "lora_replay"
    item_rows = True
    replayed = 1.0


class SingleAdapter(LoraRows):
    """RAIE with one region: a single adapter, always active, on the same windows, without replay.

    It equals `lora_rows` by construction, which a test verifies.
    """

    name: ClassVar[str] = "raie_k1"
