"""Base class of baselines that count: every event updates the counts, and nothing is trained."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from pipeline.arrays import Array
from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.windows import Windows
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.strategies.base import Scored, StrategyContext, batches

ALL = np.ones(1)
"""Shares of a single region, for counts over all users."""


class EventCounter(ABC):
    """Strategy whose counts start with the windows of set-up and grow with each event that it has scored.

    The less evidence there is for a window, the more decayed popularity (`popularity_recent`) weighs:

        p(item) = known score(item) / sum of scores + (1 - known) popularity(item)
        known = evidence / (evidence + `trend.shrinkage`)

    A subclass makes its own counts before it calls `__init__`, which counts set-up.

    Attributes:
        trained_windows: see `Strategy`.
    """

    name: ClassVar[str]

    def __init__(self, context: StrategyContext) -> None:
        config = context.config
        self.trained_windows = 0
        self._batch, self._timeline = config.replay.score_batch, context.timeline
        self._shrinkage = config.trend.shrinkage
        self._popularity = DecayedPopularity(context.setup.counts, 1, [config.replay.half_life], self._shrinkage)
        for row in range(len(context.learned)):
            self._add(context.learned, row)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the counts."""
        return sum(array.nbytes for array in self._popularity.to_arrays().values())

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: each event updates the counts."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for batch, existence in batches(windows, self._batch, self._timeline):
            self._popularity.resize(existence.items)
            scores = np.empty((len(batch), existence.items + 1))
            for row in range(len(batch)):
                scores[row] = self._answers(batch[slice(row, row + 1)], existence)[0]
                self._add(batch, row)
            ranks.append(ranks_of_existing(scores, batch.targets, batch.contexts, existence))
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:  # noqa: B027
        """Nothing to do: `observe` updates the counts."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`: by the counts of all events so far."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for batch, existence in batches(windows, self._batch, self._timeline):
            self._popularity.resize(existence.items)
            scores = self._answers(batch, existence)
            ranks.append(ranks_of_existing(scores, batch.targets, batch.contexts, existence))
        return Scored(np.concatenate(ranks))

    def close(self) -> None:  # noqa: B027
        """Nothing to release."""

    def _add(self, windows: Windows, row: int) -> None:
        self._count(windows, row)
        self._popularity.add(ALL, int(windows.targets[row]))

    def _answers(self, windows: Windows, existence: Existence) -> Array:
        """(n, items + 1) scores by which the items that exist are ranked."""
        return self._probabilities(windows)[:, : existence.items + 1]

    def _probabilities(self, windows: Windows) -> Array:
        """(n, items + 1) probabilities for n windows, over all items so far."""
        fallback = self._popularity.regional_by(0, ALL)
        scores, evidence = np.empty((len(windows), len(fallback))), np.empty((len(windows), 1))
        for row in range(len(windows)):
            scores[row], evidence[row] = self._scores(windows, row, len(fallback) - 1)
        known = evidence / (evidence + self._shrinkage)
        total = scores.sum(axis=1, keepdims=True)
        probabilities: Array = known * (scores / np.where(total > 0.0, total, 1.0)) + (1.0 - known) * fallback
        return probabilities

    @abstractmethod
    def _count(self, windows: Windows, row: int) -> None:
        """Add the interaction that followed a window to the counts."""

    @abstractmethod
    def _scores(self, windows: Windows, row: int, items: int) -> tuple[Array, float]:
        """(items + 1,) scores after a window, none negative, and the number of events that speak for them."""
