"""Popularity: the most frequent items, of all time or with a half-life, without training."""

from typing import ClassVar

import numpy as np
import torch

from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.windows import Ids, Windows
from pipeline.strategies.base import Scored, StrategyContext, batches, rank_in_batches

LARGEST_WEIGHT = 2.0**500
"""Limit of the event weight. Weights of new events grow instead of old counts decaying; at the limit all are scaled."""

TOGETHER = 64
"""Events ranked together, each with the counts of its moment."""


class Popularity:
    """Counts of all events of the log so far, updated at each event.

    Attributes:
        half_life: events after which an event counts half, or None for all-time counts.
    """

    name: ClassVar[str] = "popularity"
    half_life: float | None = None

    def __init__(self, context: StrategyContext) -> None:
        self.trained_windows = 0
        self._batch, self._timeline = context.config.replay.score_batch, context.timeline
        self._counts = np.zeros(len(context.catalogue) + 1)
        self._weight = 1.0
        for target in context.learned.targets:
            self._add(int(target))

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the counts."""
        return self._counts.nbytes

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for batch, existence in batches(windows, TOGETHER, self._timeline):
            # Row i holds the counts before event i; the rows are ranked together.
            counts = np.empty((len(batch), existence.items + 1))
            for row, target in zip(counts, batch.targets, strict=True):
                row[:] = self._counts[: existence.items + 1]
                self._add(int(target))
            ranks.append(ranks_of_existing(counts, batch.targets, batch.contexts, existence))
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """Nothing to do: `observe` updates the counts."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        return rank_in_batches(windows, self._batch, self._timeline, self._of_all)

    def close(self) -> None:
        """Nothing to release."""

    def _of_all(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        """(n, items + 1) counts as they stand."""
        return torch.from_numpy(np.tile(self._counts[: existence.items + 1], (len(contexts), 1)))

    def _add(self, row: int) -> None:
        if self.half_life is not None:
            self._weight *= 2.0 ** (1.0 / self.half_life)
            if self._weight > LARGEST_WEIGHT:
                self._counts /= self._weight
                self._weight = 1.0
        self._counts[row] += self._weight


class PopularityRecent(Popularity):
    """Decayed popularity: counts with a half-life."""

    name: ClassVar[str] = "popularity_recent"

    def __init__(self, context: StrategyContext) -> None:
        self.half_life = context.config.replay.half_life
        super().__init__(context)
