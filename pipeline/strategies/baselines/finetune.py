"""Full fine-tuning on the newest windows, with and without replay."""

from typing import ClassVar

import numpy as np

from pipeline.events.windows import Ids, Windows
from pipeline.models.training.loop import fit, known_rows
from pipeline.models.training.loss import softmax_rows
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.full_model import FullModel
from pipeline.strategies.common.set_up_replay import with_replay


class FineTune(FullModel):
    """Full fine-tuning of a copy of the backbone, without replay.

    Attributes:
        replayed: set-up windows replayed for each new one.
    """

    name: ClassVar[str] = "finetune"
    replayed: ClassVar[float] = 0.0

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._seen = np.arange(1, len(context.setup.catalogue) + 1)

    def _learn(self, windows: Windows) -> None:
        training, model = self._context.config.training, self._model.requires_grad_(True)
        self.trained_windows += fit(
            model,
            with_replay(windows, self._context.learned, self.replayed, (self._context.seed, self._interval)),
            [{"params": list(model.parameters()), "lr": training.learning_rate}],
            softmax_rows(self._learned_rows(windows), self._context.config.softmax),
            epochs=training.epochs,
            batch_size=training.batch_size,
            seed=self._seed,
            epsilon=training.epsilon,
        )
        self._use(model)

    def _learned_rows(self, windows: Windows) -> Ids:
        """Items of set-up, and those of the windows of this interval and all before."""
        self._seen = np.union1d(self._seen, known_rows(windows.contexts, windows.targets))
        return self._seen


class FineTuneReplay(FineTune):
    """Full fine-tuning with one replayed set-up window for each new one."""

    name: ClassVar[str] = "finetune_replay"
    replayed = 1.0
