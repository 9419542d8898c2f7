"""Retraining: a new model from scratch on everything so far, by the recipe of set-up."""

from typing import ClassVar

from pipeline.events.windows import Windows, concatenate
from pipeline.models.backbones.factory import build_backbone
from pipeline.setup.bootstrap import train_backbone, validation_mask
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.full_model import FullModel


class Retrain(FullModel):
    """What keeping up costs without continual learning: set-up windows and stream windows, from random weights.

    Its epochs are those of set-up, stopped on held-out recall, not those of an edit; `trained_windows` counts them.
    """

    name: ClassVar[str] = "retrain"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._everything = context.learned[~context.learned.cold]

    def _learn(self, windows: Windows) -> None:
        self._everything = concatenate([self._everything, windows])
        if self._part % self._context.config.replay.retrain_every:
            return
        config, seed = self._context.config, self._seed
        judged = validation_mask(len(self._everything), config, seed)
        model = build_backbone(config.backbone, config.windows.length, self._context.setup.catalogue, seed)
        learned = self._everything[~judged]
        recalls = train_backbone(model, config, learned, self._everything[judged], seed)
        self.trained_windows += len(recalls) * len(learned)
        self._take(model)
