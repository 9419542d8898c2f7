"""E-BPR: pairwise training on the windows that the model ranked wrongly."""

from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from pipeline.events.existence import ranks_of_existing
from pipeline.events.windows import PADDING, Ids, Windows
from pipeline.metrics.ranking import LIST_LENGTH
from pipeline.models.backbones.base import Backbone
from pipeline.models.training.loss import Batch, next_item_logits
from pipeline.strategies.baselines.lora import LoraRows


class Ebpr(LoraRows):
    """One adapter that learns to rank a missed target above its rival (after Lai et al., 2024).

    It is trained on the windows of an update interval whose target ranked below `LIST_LENGTH`; the rival is the item
    that the model before the interval ranked highest.

        loss = -log sigmoid(score(target) - score(rival))

    Other windows are not trained on.
    """

    name: ClassVar[str] = "ebpr"

    def _learn(self, windows: Windows) -> None:
        wrong, rivals = self._mistakes(windows)
        if wrong.any():
            self._rivals = self._host.backbone.windows(rivals[wrong])
            super()._learn(windows[wrong])

    def _train(self, name: str, windows: Windows) -> None:
        self._fit(name, windows, self._seed, loss_of=self._pairwise)

    def _pairwise(self, model: Backbone, batch: Batch) -> torch.Tensor:
        rivals = self._rivals[batch.indices]
        rows = torch.unique(torch.cat([batch.targets, rivals]))
        logits, columns = next_item_logits(model, batch.contexts, batch.targets, rows)
        own = logits.gather(1, columns[:, None])
        other = logits.gather(1, torch.searchsorted(rows, rivals)[:, None])
        return functional.softplus(other - own).mean()

    def _mistakes(self, windows: Windows) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Ids]:
        """(n,) windows with a missed target, and the (n,) highest other item."""
        wrong, rivals = [], []
        size, existence = self._context.config.replay.score_batch, self._existence_after(windows)
        for start in range(0, len(windows), size):
            batch = windows[slice(start, start + size)]
            scores = self._probabilities(batch.contexts, existence).cpu().numpy()
            wrong.append(ranks_of_existing(scores, batch.targets, batch.contexts, existence) > LIST_LENGTH)
            rows = np.arange(len(batch))
            scores[rows[:, None], existence.held(batch.contexts)] = -1.0
            scores[rows, batch.targets] = scores[:, PADDING] = -1.0
            rivals.append(scores.argmax(axis=1))
        return np.concatenate(wrong), np.concatenate(rivals)
