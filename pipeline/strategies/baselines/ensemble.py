"""Fixed-weight mixtures of the backbone and a single adapter."""

from typing import ClassVar

import torch

from pipeline.events.existence import Existence
from pipeline.events.windows import Ids
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.baselines.lora import LoraRows


class Ensemble(LoraRows):
    """Mixture of the backbone and the single adapter at equal weights.

    Attributes:
        share: weight of the adapter's probabilities; the backbone's have the rest.
    """

    name: ClassVar[str] = "ensemble"
    share: ClassVar[float] = 0.5

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        adapted = super()._probabilities(contexts, existence)
        if self._adapter is None:
            return adapted
        backbone = next_item_probabilities(self._host, contexts, None, existence)
        return self.share * adapted + (1.0 - self.share) * backbone


class Ensemble25(Ensemble):
    """Mixture with a quarter of the weight on the adapter."""

    name: ClassVar[str] = "ensemble_25"
    share = 0.25


class Ensemble75(Ensemble):
    """Mixture with three quarters of the weight on the adapter."""

    name: ClassVar[str] = "ensemble_75"
    share = 0.75
