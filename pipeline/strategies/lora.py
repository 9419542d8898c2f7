"""One adapter for everyone: LoRA with and without item rows, with and without replay, mixed or not."""

import copy
from typing import ClassVar

import numpy as np
import torch

from adapters_store import version_name
from pipeline.adapters import AdapterHost
from pipeline.routing import next_item_probabilities
from pipeline.setup import softmax_rows
from pipeline.strategies.base import Scored, Start, rank_in_batches
from pipeline.strategies.observed import Observed
from pipeline.training import fit, known_rows
from pipeline.windows import Ids, Windows, concatenate


class Lora:
    """LoRA on attention and feed-forward layers; items stay as they were set up; no replay.

    Attributes:
        item_rows: whether the adapter moves item rows and text projection, as region adapters do.
        replayed: set-up windows replayed for each new one.
        share: weight of the adapter in the answer; the backbone has the rest.
    """

    name: ClassVar[str] = "lora"
    item_rows: ClassVar[bool] = False
    replayed: ClassVar[float] = 0.0
    share: ClassVar[float] = 1.0

    def __init__(self, start: Start) -> None:
        self.trained_windows = 0
        self._start = start
        settings = start.config.adapter
        if not self.item_rows:
            settings = settings.model_copy(update={"item_rows": False, "text_projection": False})
        self._host = AdapterHost(copy.deepcopy(start.setup.backbone), settings)
        self._adapter: str | None = None
        self._observed = Observed()

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        scored = self.score(windows)
        self._observed.add(windows)
        return scored

    def learn(self) -> None:
        """See `Strategy.learn`."""
        windows = self._observed.take()
        if windows is None:
            return
        learned = self._with_replay(windows)
        seed, training = self._start.seed + self._observed.parts, self._start.config.training
        name = version_name(1, self._observed.parts)
        rows = known_rows(windows.contexts, windows.targets) if self.item_rows else np.zeros(0, dtype=np.int64)
        self._host.create(name, rows.tolist(), parent=self._adapter, seed=seed)
        with self._host.active(name) as model:
            self.trained_windows += fit(
                model,
                learned,
                self._host.parameter_groups(name, training.learning_rate, training.row_learning_rate),
                softmax_rows(self._start.config, np.arange(1, len(self._start.setup.catalogue) + 1)),
                epochs=training.epochs,
                batch_size=training.batch_size,
                seed=seed,
            )
        if self._adapter:
            self._host.drop(self._adapter)
        self._adapter = name

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        return rank_in_batches(windows, self._start.config.replay.score_batch, self._answer)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _answer(self, contexts: Ids) -> torch.Tensor:
        answer = next_item_probabilities(self._host, contexts, self._adapter)
        if self.share < 1.0 and self._adapter:
            static = next_item_probabilities(self._host, contexts, None)
            answer = self.share * answer + (1.0 - self.share) * static
        return answer

    def _with_replay(self, windows: Windows) -> Windows:
        pool = self._start.learned[~self._start.learned.cold]
        wanted = min(round(self.replayed * len(windows)), len(pool))
        if not wanted:
            return windows
        rng = np.random.default_rng([self._start.seed, self._observed.parts])
        return concatenate([windows, pool[np.sort(rng.choice(len(pool), wanted, replace=False))]])


class LoraReplay(Lora):
    """LoRA and item rows, one set-up window replayed for each new one."""

    name: ClassVar[str] = "lora_replay"
    item_rows = True
    replayed = 1.0


class SingleAdapter(Lora):
    """RAIE with one region: one adapter for everyone, always on, the same windows, no replay."""

    name: ClassVar[str] = "raie_k1"
    item_rows = True


class Ensemble(SingleAdapter):
    """The dull answer to forgetting: half the backbone, half the one adapter."""

    name: ClassVar[str] = "ensemble"
    share = 0.5
