"""Popularity in a window: the items that others took most among the last so many events."""

from collections import deque
from typing import ClassVar

from pipeline.strategies.base import Start
from pipeline.strategies.baselines.popularity import Popularity


class PopularityWindow(Popularity):
    """Counts of the newest `replay.popularity_window` events, updated at each event."""

    name: ClassVar[str] = "popularity_window"

    def __init__(self, start: Start) -> None:
        self._newest: deque[int] = deque()
        self._window = start.config.replay.popularity_window
        super().__init__(start)

    def _add(self, row: int) -> None:
        super()._add(row)
        self._newest.append(row)
        if len(self._newest) > self._window:
            self._counts[self._newest.popleft()] -= 1.0
