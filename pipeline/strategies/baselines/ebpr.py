"""E-BPR: pairwise edits of what the model answered wrongly."""

from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from pipeline.events.windows import PADDING, Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.models.backbones.base import Backbone
from pipeline.models.training.loss import Batch, next_item_logits
from pipeline.strategies.baselines.lora import LoraRows

LISTED = 10
"""A target below this rank was answered wrongly."""


class Ebpr(LoraRows):
    """One adapter that puts the item that came above the item it was mistaken for (after Lai et al., 2024).

    An edit is a window of the part whose target did not make the list; its rival is the item that the model,
    as it was before the part, ranked highest instead.

        loss = -log sigmoid(score(target) - score(rival))

    Windows that were answered rightly are not trained on.
    """

    name: ClassVar[str] = "ebpr"

    def _learn(self, windows: Windows) -> None:
        wrong, rivals = self._mistakes(windows)
        if wrong.any():
            self._rivals = torch.from_numpy(rivals[wrong])
            super()._learn(windows[wrong])

    def _train(self, name: str, windows: Windows) -> None:
        self._fit(name, windows, self._seed, loss_of=self._pairwise)

    def _pairwise(self, model: Backbone, batch: Batch) -> torch.Tensor:
        rivals = self._rivals[batch.indices]
        rows = torch.unique(torch.cat([batch.targets, rivals]))
        logits, places = next_item_logits(model, batch.contexts, batch.targets, rows)
        own = logits.gather(1, places[:, None])
        other = logits.gather(1, torch.searchsorted(rows, rivals)[:, None])
        return functional.softplus(other - own).mean()

    def _mistakes(self, windows: Windows) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Ids]:
        """(n,) which windows were answered wrongly, and the (n,) item that stood highest instead."""
        wrong, rivals = [], []
        size = self._context.config.replay.score_batch
        for start in range(0, len(windows), size):
            batch = windows[slice(start, start + size)]
            answer = self._answer(batch.contexts).numpy()
            wrong.append(rank_of_targets(answer, batch.targets, batch.contexts) > LISTED)
            rows = np.arange(len(batch))
            answer[rows[:, None], batch.contexts] = -1.0
            answer[rows, batch.targets] = answer[:, PADDING] = -1.0
            rivals.append(answer.argmax(axis=1))
        return np.concatenate(wrong), np.concatenate(rivals)
