"""Base class of baselines that train adapters over the frozen backbone."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from pipeline.events.windows import Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.models.training.loop import fit, known_rows
from pipeline.models.training.loss import Candidates, Loss, cross_entropy_of, softmax_rows
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.interval_learner import IntervalLearner
from pipeline.strategies.common.trainings import Tensors, key_of


class AdapterLearner(IntervalLearner):
    """Strategy over adapters with the configuration of region adapters.

    Attributes:
        item_rows: True if adapters move item rows and text projection, as region adapters do.
    """

    item_rows: ClassVar[bool] = True

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        settings = context.config.adapter
        if not self.item_rows:
            settings = settings.model_copy(update={"item_rows": False, "text_projection": False})
        self._host = AdapterHost(context.grown_backbone(), settings)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`."""
        return sum(tensor.nbytes for name in self._host.names for tensor in self._host.tensors(name).values())

    def _create(self, name: str, windows: Windows, parent: str | None, seed: int) -> None:
        """Register an adapter with the item rows of these windows: a copy of its parent, or without effect."""
        rows = known_rows(windows.contexts, windows.targets) if self.item_rows else np.zeros(0, dtype=np.int64)
        self._host.create(name, rows.tolist(), parent=parent, seed=seed)

    def _fit(
        self,
        name: str,
        windows: Windows,
        seed: int,
        *,
        epochs: int | None = None,
        loss_of: Loss = cross_entropy_of,
        layers: Sequence[str] | None = None,
    ) -> None:
        """Train a registered adapter, or take its weights from the training cache, and count the passes.

        Args:
            name: of the adapter.
            windows: to learn.
            seed: for their order and dropout.
            epochs: passes; None: `training.epochs`.
            loss_of: loss of a batch.
            layers: those whose factors are trained (see `AdapterHost.factors`); None: all.
        """
        training = self._context.config.training
        passes = training.epochs if epochs is None else epochs
        self.trained_windows += passes * len(windows)
        train = partial(self._train_adapter, name, windows, seed, passes, loss_of, layers)
        # The cache key does not cover the loss, so only trainings with the default loss are shared.
        if self._context.trainings is None or loss_of is not cross_entropy_of:
            train()
            return
        rows, settings = self._host.rows(name), (self._host.settings.model_dump_json(), training.model_dump_json())
        inputs = {"contexts": windows.contexts, "targets": windows.targets, "rows": np.array(rows, dtype=np.int64)}
        key = key_of(f"{settings} {passes} {seed} {layers}", inputs, self._host.tensors(name))
        tensors = self._context.trainings.take(key, train)
        self._host.drop(name)
        self._host.register(name, tensors, rows)

    def _train_adapter(
        self, name: str, windows: Windows, seed: int, epochs: int, loss_of: Loss, layers: Sequence[str] | None
    ) -> Tensors:
        """Train a registered adapter; its tensors afterwards."""
        training = self._context.config.training
        with self._host.active(name) as model:
            fit(
                model,
                windows,
                self._host.parameter_groups(name, training.learning_rate, training.row_learning_rate, layers),
                self._candidates(name, windows),
                epochs=epochs,
                batch_size=training.batch_size,
                seed=seed,
                epsilon=training.epsilon,
                loss_of=loss_of,
            )
        return self._host.tensors(name)

    def _candidates(self, name: str, windows: Windows) -> Candidates:
        """Items of set-up, of the adapter and of the windows: those that were trained on, or are now."""
        rows = [np.arange(1, len(self._context.setup.catalogue) + 1), known_rows(windows.contexts, windows.targets)]
        moved = np.array([row for row in self._host.rows(name) if row], dtype=np.int64)
        return softmax_rows(np.unique(np.concatenate([*rows, moved])), self._context.config.softmax)
