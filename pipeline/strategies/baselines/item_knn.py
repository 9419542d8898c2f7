"""Item neighbourhood: items that the same users took as those of the history, without training."""

from typing import ClassVar

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import Ids, Windows
from pipeline.online.pair_counts import PairCounts
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.history_counter import HistoryCounter


class ItemKnn(HistoryCounter):
    """Item-based collaborative filtering (Sarwar et al., 2001; Deshpande and Karypis, 2004), updated at each event.

        sim(i, j) = n(i, j) / sqrt((n(i) + shrinkage) (n(j) + shrinkage))
        score(j | history) = sum over its items i, of whose nearest items j is one, of sim(i, j)

    n(i) is the number of users who took i, n(i, j) that of users who took both. Items as near as the last of the
    nearest ones count as well. The shrinkage is that of the cosine of Hidasi et al. (2016), the number of neighbours
    that of Sarwar et al. on MovieLens.

    Attributes:
        neighbours: nearest items of each item that count.
        shrinkage: users added to those of each item.
    """

    name: ClassVar[str] = "item_knn"
    neighbours: ClassVar[int] = 30
    shrinkage: ClassVar[float] = 20.0

    def __init__(self, context: StrategyContext) -> None:
        self._together = PairCounts()
        super().__init__(context)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the counts, the histories and the pairs."""
        return super().memory_bytes + self._together.memory_bytes

    def _count(self, windows: Windows, row: int) -> None:
        before = self._remember(windows, row)
        item = np.full_like(before, windows.targets[row])
        both = np.concatenate([before, item]), np.concatenate([item, before])
        self._together.add(*both, np.ones(2 * len(before), dtype=np.int64))

    def _fill(self, scores: Array, history: Ids, user: str) -> None:  # noqa: ARG002
        users = self._histories.counts + self.shrinkage
        for item in history:
            beside = self._together.weighted(np.array([item]), np.ones(1))
            similar = beside.values / np.sqrt(users[item] * users[beside.rows])
            if len(similar) > self.neighbours:
                kept = similar >= np.partition(similar, -self.neighbours)[-self.neighbours]
                scores[beside.rows[kept]] += similar[kept]
            else:
                scores[beside.rows] += similar
