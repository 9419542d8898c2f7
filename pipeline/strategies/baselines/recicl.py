"""RecICL: a language model that is tuned to learn from examples in its window, and never again."""

from typing import ClassVar

import numpy as np
import torch

from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.labelled import with_existing_dislikes
from pipeline.events.windows import PADDING, Ids, Windows
from pipeline.models.backbones.examples_lm import ExamplesLM
from pipeline.models.backbones.factory import build
from pipeline.setup.bootstrap import validation_mask
from pipeline.setup.training import train_backbone
from pipeline.strategies.base import Scored, StrategyContext, batches, grown


class RecICL:
    """Model whose windows are the user's newest interactions as labelled examples (Bao et al., 2024).

    It is a model of its own, tuned on the windows of set-up with the recipe of set-up; the stream reaches it through
    its windows alone. These hold as many interactions as those of the other strategies, dislikes among them.
    """

    name: ClassVar[str] = "recicl"

    def __init__(self, context: StrategyContext) -> None:
        config, seed = context.config, context.seed
        assert context.labelled is not None
        self.trained_windows = 0
        self._context, self._labelled = context, context.labelled()
        model = build(ExamplesLM, config.backbone, config.windows.length, context.setup.catalogue, seed)
        warm = context.learned[~context.learned.cold]
        known = Existence.of_all(len(context.setup.catalogue))
        examples, judged = self._labelled_windows(warm, known), validation_mask(len(warm), config, seed)
        train_backbone(model, config, examples[~judged], examples[judged], seed)
        self._model = grown(model, context.catalogue)
        with torch.inference_mode():
            self._vectors = self._model.items.all()

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: all weights."""
        return self._model.weight_bytes

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        return self.score(windows)

    def learn(self) -> None:
        """Nothing to learn."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`; the rivals of a target are those of the other strategies."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for batch, existence in batches(windows, self._context.config.replay.score_batch, self._context.timeline):
            read = self._labelled_windows(batch, existence).contexts
            scores = self._probabilities(read, existence).cpu().numpy()
            ranks.append(ranks_of_existing(scores, batch.targets, batch.contexts, existence))
        return Scored(np.concatenate(ranks))

    def close(self) -> None:
        """Nothing to release."""

    def _labelled_windows(self, windows: Windows, existence: Existence) -> Windows:
        """The labelled windows of the same interactions."""
        return with_existing_dislikes(self._labelled.of(windows), existence)

    @torch.inference_mode()
    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        logits = self._model.last(self._model.windows(contexts), self._vectors) @ self._vectors[: existence.items + 1].T
        logits[:, PADDING] = -torch.inf
        existence.hide(logits, -torch.inf)
        return logits.softmax(dim=1)
