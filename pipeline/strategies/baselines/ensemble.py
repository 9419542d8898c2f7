"""The dull answer to forgetting: the backbone and the one adapter, mixed at a fixed weight."""

from typing import ClassVar

import torch

from pipeline.events.windows import Ids
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.baselines.lora import LoraRows


class Ensemble(LoraRows):
    """Half the backbone, half the one adapter.

    Attributes:
        share: weight of the adapter's probabilities; the backbone's have the rest.
    """

    name: ClassVar[str] = "ensemble"
    share: ClassVar[float] = 0.5

    def _answer(self, contexts: Ids) -> torch.Tensor:
        answer = super()._answer(contexts)
        if self._adapter is None:
            return answer
        return self.share * answer + (1.0 - self.share) * next_item_probabilities(self._host, contexts, None)


class Ensemble25(Ensemble):
    """A quarter the one adapter."""

    name: ClassVar[str] = "ensemble_25"
    share = 0.25


class Ensemble75(Ensemble):
    """Three quarters the one adapter."""

    name: ClassVar[str] = "ensemble_75"
    share = 0.75
