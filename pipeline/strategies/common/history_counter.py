"""Base class of baselines over the histories of all users: neighbourhoods of items or users."""

from abc import abstractmethod

import numpy as np

from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.event_counter import EventCounter
from pipeline.strategies.common.user_histories import UserHistories, history_before


class HistoryCounter(EventCounter):
    """Strategy that scores a window by what its user had taken until then.

    What a user had taken is known from the window alone: its items and those that left it (`Windows.earlier`). So a
    window of set-up that is scored after the stream is asked with the history of its moment; the counts are those of
    all events so far, later ones of the same user included. Targets alone are counted: that of an S_new window is never
    among them, although the user's later windows hold it.

    The evidence for a window is the number of users who took an item of its history, summed over these items. As in the
    papers, items that the user has taken come last, unless `windows.repeats`.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._histories = UserHistories(len(context.catalogue))
        super().__init__(context)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the counts and the histories."""
        return super().memory_bytes + self._histories.memory_bytes

    def _count(self, windows: Windows, row: int) -> None:
        self._remember(windows, row)

    def _remember(self, windows: Windows, row: int) -> Ids:
        """See `UserHistories.add`."""
        return self._histories.add(str(windows.users[row]), int(windows.targets[row]), float(windows.timestamps[row]))

    def _answers(self, windows: Windows, existence: Existence) -> Array:
        answers = super()._answers(windows, existence)
        if not existence.repeats:
            for row, answer in enumerate(answers):
                taken = history_before(windows, row)
                answer[taken[taken <= existence.items]] = 0.0
        return answers

    def _scores(self, windows: Windows, row: int, items: int) -> tuple[Array, float]:
        history, scores = history_before(windows, row), np.zeros(items + 1)
        evidence = float(self._histories.counts[history].sum())
        if evidence:
            self._fill(scores, history, str(windows.users[row]))
        return scores, evidence

    @abstractmethod
    def _fill(self, scores: Array, history: Ids, user: str) -> None:
        """Set the (items + 1,) scores of items, 0 so far, for a user with (h,) items, oldest first."""
