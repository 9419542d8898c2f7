"""Base class of baselines with a full model of their own instead of an adapter."""

from dataclasses import replace

import torch

from pipeline.events.existence import Existence
from pipeline.events.windows import PADDING, Ids
from pipeline.models.backbones.base import Backbone
from pipeline.models.placement import NONE
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.interval_learner import IntervalLearner


class FullModel(IntervalLearner):
    """Strategy over a model all of whose weights may change, at first a copy of the backbone in float32."""

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        backbone = context.grown_backbone()
        self._use(backbone.place(replace(backbone.placement, precision=torch.float32, quantization=NONE)))

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: all weights."""
        return self._model.weight_bytes

    def _use(self, model: Backbone) -> None:
        """Score with this model from now on."""
        self._model = model
        with torch.inference_mode():
            self._vectors = model.items.all()

    @torch.inference_mode()
    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        candidates = self._vectors[: existence.items + 1]
        logits = self._model.last(self._model.windows(contexts), self._vectors) @ candidates.T
        logits[:, PADDING] = -torch.inf
        existence.hide(logits, -torch.inf)
        return logits.softmax(dim=1)
