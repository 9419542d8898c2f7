"""Sliding-window popularity: the most frequent items of the newest events."""

from collections import deque
from typing import ClassVar

from pipeline.strategies.base import StrategyContext
from pipeline.strategies.baselines.popularity import Popularity


class PopularityWindow(Popularity):
    """Counts of the newest `replay.popularity_window` events, updated at each event."""

    name: ClassVar[str] = "popularity_window"

    def __init__(self, context: StrategyContext) -> None:
        self._newest: deque[int] = deque()
        self._window = context.config.replay.popularity_window
        super().__init__(context)

    def _add(self, row: int) -> None:
        super()._add(row)
        self._newest.append(row)
        if len(self._newest) > self._window:
            self._counts[self._newest.popleft()] -= 1.0
