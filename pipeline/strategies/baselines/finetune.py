"""Full fine-tuning on the newest windows, with and without replay."""

from typing import ClassVar

import numpy as np

from pipeline.events.windows import Windows
from pipeline.models.training.loop import fit
from pipeline.models.training.loss import softmax_rows
from pipeline.strategies.common.full_model import FullModel
from pipeline.strategies.common.set_up_replay import with_replay


class FineTune(FullModel):
    """Full fine-tuning of a copy of the backbone, without replay.

    Attributes:
        replayed: set-up windows replayed for each new one.
    """

    name: ClassVar[str] = "finetune"
    replayed: ClassVar[float] = 0.0

    def _learn(self, windows: Windows) -> None:
        training, model = self._context.config.training, self._model.requires_grad_(True)
        self.trained_windows += fit(
            model,
            with_replay(windows, self._context.learned, self.replayed, (self._context.seed, self._interval)),
            [{"params": list(model.parameters()), "lr": training.learning_rate}],
            softmax_rows(np.arange(1, len(self._context.setup.catalogue) + 1), self._context.config.softmax),
            epochs=training.epochs,
            batch_size=training.batch_size,
            seed=self._seed,
            epsilon=training.epsilon,
        )
        self._use(model)


class FineTuneReplay(FineTune):
    """Full fine-tuning with one replayed set-up window for each new one."""

    name: ClassVar[str] = "finetune_replay"
    replayed = 1.0
