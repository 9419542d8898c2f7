"""Sequential rules: what was taken after the items of the window in the newest events. They are never trained."""

from typing import ClassVar

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.online.item_transitions import ItemTransitions
from pipeline.strategies.base import Scored, StrategyContext

ALL = np.ones((1, 1))
"""One taste that every window is of, and one half-life that has all of the weight."""


class SequentialRules:
    """What `raie` knows of followers, alone: the newest events of the log, those of set-up included.

    Where little followed the items of a window, counts with a half-life answer (`popularity_recent`).
    """

    name: ClassVar[str] = "sequential_rules"

    def __init__(self, context: StrategyContext) -> None:
        config = context.config
        self.trained_windows = 0
        self._batch = config.replay.score_batch
        settings = config.trend
        self._followers = ItemTransitions(settings.followed_events, config.windows.length, settings.shrinkage)
        self._trend = DecayedPopularity(context.setup.counts, 1, [config.replay.half_life], settings.shrinkage)
        for window, target in zip(context.learned.contexts, context.learned.targets.tolist(), strict=True):
            self._add(window, target)

    @property
    def kept_bytes(self) -> int:
        """See `Strategy`: the events, and the counts."""
        return sum(array.nbytes for part in (self._followers, self._trend) for array in part.to_arrays().values())

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: counts are brought up to date by each event."""
        ranks = []
        for context, target in zip(windows.contexts, windows.targets.tolist(), strict=True):
            ranks.append(int(rank_of_targets(self._answer(context[None]), np.array([target]), context[None])[0]))
            self._add(context, target)
        return Scored(np.array(ranks, dtype=np.int64))

    def learn(self) -> None:
        """Counts are kept up at each event."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for start in range(0, len(windows), self._batch):
            batch = windows[slice(start, start + self._batch)]
            ranks.append(rank_of_targets(self._answer(batch.contexts), batch.targets, batch.contexts))
        return Scored(np.concatenate(ranks))

    def close(self) -> None:
        """Nothing is held but memory."""

    def _add(self, context: Ids, target: int) -> None:
        self._followers.add(context, target)
        self._trend.add(ALL[0], target)

    def _answer(self, contexts: Ids) -> Array:
        """(n, length) windows to (n, items + 1) probabilities."""
        fallback = self._trend.blended(ALL, ALL[None])[0]
        found = [self._followers.of(context) for context in contexts]
        known = self._followers.known(np.array([followed.evidence for followed in found]))[:, None]
        answers: Array = known * np.stack([followed.over(fallback.shape[1]) for followed in found])
        answers += (1.0 - known) * fallback
        return answers
