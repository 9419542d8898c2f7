"""Nearest-neighbour memory: targets of similar windows, without training."""

from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.models.backbones.base import last_states
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.mixing import next_item_probabilities
from pipeline.setup.bootstrap import validation_mask
from pipeline.strategies.base import Scored, StrategyContext, rank_in_batches

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Candidate weights of the memory, chosen by likelihood on held-out set-up windows."""


class Nearest:
    """The backbone's probabilities mixed with those of a memory (Khandelwal et al., 2020).

        p(y) = (1 - share) p_backbone(y) + share sum over the k nearest windows followed by y of softmax(cos / t)

    The memory holds the frozen last state and the target of every set-up window and every later event. The share
    maximises the likelihood of the targets of held-out set-up windows, with the other windows as memory.

    Attributes:
        neighbours: k.
        temperature: t.
    """

    name: ClassVar[str] = "nearest"
    neighbours: ClassVar[int] = 64
    temperature: ClassVar[float] = 0.05

    def __init__(self, context: StrategyContext) -> None:
        self.trained_windows = 0
        self._host = AdapterHost(context.grown_backbone(), context.config.adapter)
        self._batch, self._timeline = context.config.gate.batch_size, context.timeline
        warm = context.learned[~context.learned.cold]
        unseen = validation_mask(len(warm), context.config, context.seed)
        of_setup = warm[~unseen]
        self._keys, self._values = self._states(of_setup.contexts), self._rows(of_setup.targets)
        self._share = self._best_share(warm[unseen])
        self._remember(warm[unseen])

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the memory."""
        return self._keys.nbytes + self._values.nbytes

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: the memory grows after every `gate.batch_size` events."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for start in range(0, len(windows), self._batch):
            batch = windows[slice(start, start + self._batch)]
            ranks.append(self.score(batch).ranks)
            self._remember(batch[~batch.cold])
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """Nothing to do: `observe` extends the memory."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        return rank_in_batches(windows, self._batch, self._timeline, self._probabilities)

    def close(self) -> None:
        """Nothing to release."""

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        static = next_item_probabilities(self._host, contexts, None, existence)
        if self._share == 0.0:
            return static
        return (1.0 - self._share) * static + self._share * self._recalled(contexts, static.shape[1])

    def _recalled(self, contexts: Ids, rows: int) -> torch.Tensor:
        """(n, length) windows to (n, rows) probabilities of the memory alone."""
        near = (self._states(contexts) @ self._keys.T).topk(min(self.neighbours, len(self._keys)), dim=1)
        weights = (near.values / self.temperature).softmax(dim=1)
        return weights.new_zeros(len(contexts), rows).scatter_add_(1, self._values[near.indices], weights)

    def _best_share(self, judged: Windows) -> float:
        own, of_setup = self._rows(judged.targets)[:, None], Existence.of_all(self._timeline.setup_items)
        probabilities = [np.zeros((0, 2))]
        for start in range(0, len(judged), self._batch):
            rows = slice(start, start + self._batch)
            static = next_item_probabilities(self._host, judged.contexts[rows], None, of_setup)
            recalled = self._recalled(judged.contexts[rows], static.shape[1])
            probabilities.append(
                torch.cat([p.gather(1, own[rows]) for p in (static, recalled)], dim=1).cpu().double().numpy()
            )
        of_backbone, of_memory = np.maximum(np.concatenate(probabilities), 1e-12).T
        fits = [float(np.log((1.0 - s) * of_backbone + s * of_memory).sum()) for s in SHARES]
        return SHARES[int(np.argmax(fits))]

    def _remember(self, windows: Windows) -> None:
        self._keys = torch.cat([self._keys, self._states(windows.contexts)])
        self._values = torch.cat([self._values, self._rows(windows.targets)])

    def _rows(self, targets: Ids) -> torch.Tensor:
        """(n,) targets, where the memory is."""
        rows: torch.Tensor = self._host.backbone.windows(targets)
        return rows

    def _states(self, contexts: Ids) -> torch.Tensor:
        """(n, length) windows to (n, d) unit vectors."""
        batches = [
            functional.normalize(last_states(self._host.states(contexts[start : start + self._batch], None)), dim=1)
            for start in range(0, max(len(contexts), 1), self._batch)
        ]
        return torch.cat(batches)
