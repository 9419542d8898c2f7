"""Popularity: the items that others took most, over all time or of late. It is never trained."""

from typing import ClassVar

import numpy as np

from pipeline.evaluation.ranking import rank_of_targets
from pipeline.strategies.base import Scored, Start
from pipeline.windows import Windows

LARGEST_WEIGHT = 2.0**500
"""Weights of new events grow instead of old counts shrinking; beyond this all are scaled back."""


class Popularity:
    """Counts of all events since the log began, updated at each event.

    Attributes:
        half_life: events after which an event counts half, or None for all-time counts.
    """

    name: ClassVar[str] = "popularity"
    half_life: float | None = None

    def __init__(self, start: Start) -> None:
        self.trained_windows = 0
        self._counts = np.zeros(len(start.setup.catalogue) + 1)
        self._weight = 1.0
        for target in start.learned.targets:
            self._add(int(target))

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        ranks = np.empty(len(windows), dtype=np.int64)
        for i, target in enumerate(windows.targets):
            ranks[i] = self.score(windows[slice(i, i + 1)]).ranks[0]
            self._add(int(target))
        return Scored(ranks)

    def learn(self) -> None:
        """Counts are kept up at each event."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        counts = self._counts.copy()
        counts[0] = -np.inf
        ranks = [
            rank_of_targets(counts[None], windows.targets[i : i + 1], windows.contexts[i : i + 1])[0]
            for i in range(len(windows))
        ]
        return Scored(np.array(ranks, dtype=np.int64))

    def close(self) -> None:
        """Nothing is held but memory."""

    def _add(self, row: int) -> None:
        if self.half_life is not None:
            self._weight *= 2.0 ** (1.0 / self.half_life)
            if self._weight > LARGEST_WEIGHT:
                self._counts /= self._weight
                self._weight = 1.0
        self._counts[row] += self._weight


class PopularityRecent(Popularity):
    """Counts with a half-life: what is trending."""

    name: ClassVar[str] = "popularity_recent"

    def __init__(self, start: Start) -> None:
        self.half_life = start.config.replay.half_life
        super().__init__(start)
