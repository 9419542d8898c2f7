"""Sequential rules: items that followed those of the window in the newest events, without training."""

from typing import ClassVar

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import Windows, taken_rows
from pipeline.online.item_transitions import ItemTransitions
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.event_counter import EventCounter


class SequentialRules(EventCounter):
    """The item transitions of `raie`, alone: the newest events of the log, those of set-up included."""

    name: ClassVar[str] = "sequential_rules"

    def __init__(self, context: StrategyContext) -> None:
        length = context.config.windows.length
        self._transitions = ItemTransitions(context.config.trend.followed_events, length)
        self._whole = float(length**2)
        super().__init__(context)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the events and the counts."""
        return super().memory_bytes + sum(array.nbytes for array in self._transitions.to_arrays().values())

    def _count(self, windows: Windows, row: int) -> None:
        self._transitions.add(taken_rows(windows.contexts[row]), int(windows.targets[row]))

    def _scores(self, windows: Windows, row: int, items: int) -> tuple[Array, float]:
        followed = self._transitions.scores(taken_rows(windows.contexts[row])).at(np.arange(items + 1))
        # An event whose newest item is the window's newest counts 1.
        return followed, followed.sum() / self._whole
