"""Full fine-tuning: all weights, on the newest windows alone."""

import copy
from typing import ClassVar

import numpy as np
import torch

from pipeline.backbones.base import last_states
from pipeline.setup import softmax_rows
from pipeline.strategies.base import Scored, Start, rank_in_batches
from pipeline.strategies.observed import Observed
from pipeline.training import fit
from pipeline.windows import Ids, Windows


class FineTune:
    """Trains every weight of a copy of the backbone, without replay."""

    name: ClassVar[str] = "finetune"

    def __init__(self, start: Start) -> None:
        self.trained_windows = 0
        self._start = start
        self._model = copy.deepcopy(start.setup.backbone).requires_grad_(True)
        self._observed = Observed()

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        scored = self.score(windows)
        self._observed.add(windows)
        return scored

    def learn(self) -> None:
        """See `Strategy.learn`."""
        windows, training = self._observed.take(), self._start.config.training
        if windows is None:
            return
        self.trained_windows += fit(
            self._model,
            windows,
            [{"params": list(self._model.parameters()), "lr": training.learning_rate}],
            softmax_rows(self._start.config, np.arange(1, len(self._start.setup.catalogue) + 1)),
            epochs=training.epochs,
            batch_size=training.batch_size,
            seed=self._start.seed + self._observed.parts,
        )

    @torch.inference_mode()
    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        vectors = self._model.items.all()

        def answer(contexts: Ids) -> torch.Tensor:
            scores = last_states(self._model.hidden(torch.from_numpy(contexts), vectors)) @ vectors.T
            scores[:, 0] = -torch.inf
            return scores

        return rank_in_batches(windows, self._start.config.replay.score_batch, answer)

    def close(self) -> None:
        """Nothing is held but memory."""
