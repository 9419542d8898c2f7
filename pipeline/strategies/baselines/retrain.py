"""Retraining: a new model from scratch on all windows so far, trained as in set-up."""

from typing import ClassVar

from pipeline.events.windows import Windows, concatenate
from pipeline.models.backbones.factory import build_backbone
from pipeline.setup.bootstrap import validation_mask
from pipeline.setup.training import train_backbone
from pipeline.strategies.base import StrategyContext, grown
from pipeline.strategies.common.full_model import FullModel


class Retrain(FullModel):
    """Model trained from random weights on all windows of set-up and stream, the upper bound of training cost.

    Epochs and early stopping are those of set-up; `trained_windows` counts every epoch.
    """

    name: ClassVar[str] = "retrain"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._windows = context.learned[~context.learned.cold]

    def _learn(self, windows: Windows) -> None:
        self._windows = concatenate([self._windows, windows])
        if self._interval % self._context.config.replay.retrain_every:
            return
        config, seed, catalogue = self._context.config, self._seed, self._context.catalogue
        judged = validation_mask(len(self._windows), config, seed)
        known = catalogue.first(self._context.timeline.last_row(int(windows.positions[-1])))
        learned = self._windows[~judged]
        model = build_backbone(config.backbone, config.windows.length, known, seed)
        recalls = train_backbone(model, config, learned, self._windows[judged], seed)
        self.trained_windows += len(recalls) * len(learned)
        self._use(grown(model, catalogue))
