"""What the baselines share that keep a whole model of their own instead of an adapter."""

import copy

import torch

from pipeline.events.windows import PADDING, Ids
from pipeline.models.backbones.base import Backbone
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.part_learner import PartLearner


class FullModel(PartLearner):
    """Answers with a model all of whose weights may change; at first that is a copy of the backbone."""

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._take(copy.deepcopy(context.setup.backbone))

    @property
    def kept_bytes(self) -> int:
        """See `Strategy`: all weights."""
        return sum(parameter.nbytes for parameter in self._model.parameters())

    def _take(self, model: Backbone) -> None:
        """Answer with this model, as it now is."""
        self._model = model
        with torch.inference_mode():
            self._vectors = model.items.all()

    @torch.inference_mode()
    def _answer(self, contexts: Ids) -> torch.Tensor:
        logits = self._model.last(torch.from_numpy(contexts), self._vectors) @ self._vectors.T
        logits[:, PADDING] = -torch.inf
        return logits.softmax(dim=1)
