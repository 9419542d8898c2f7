"""Sequential rules: items that followed those of the window in the newest events, without training."""

from typing import ClassVar

import numpy as np

from pipeline.arrays import Array
from pipeline.events.existence import ranks_of_existing
from pipeline.events.windows import Ids, Windows
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.online.item_transitions import ItemTransitions
from pipeline.strategies.base import Scored, StrategyContext, batches

ALL = np.ones(1)
"""Shares of a single region, for counts over all users."""


class SequentialRules:
    """The item transitions of `raie`, alone: the newest events of the log, those of set-up included.

    The less evidence there is for the items of a window, the more decayed popularity (`popularity_recent`) weighs.
    """

    name: ClassVar[str] = "sequential_rules"

    def __init__(self, context: StrategyContext) -> None:
        config = context.config
        self.trained_windows = 0
        self._batch, self._timeline = config.replay.score_batch, context.timeline
        settings = config.trend
        self._transitions = ItemTransitions(settings.followed_events, config.windows.length)
        self._shrinkage, self._whole = settings.shrinkage, float(config.windows.length**2)
        self._popularity = DecayedPopularity(context.setup.counts, 1, [config.replay.half_life], settings.shrinkage)
        for window, target in zip(context.learned.contexts, context.learned.targets.tolist(), strict=True):
            self._add(window, target)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the events and the counts."""
        return sum(
            array.nbytes for part in (self._transitions, self._popularity) for array in part.to_arrays().values()
        )

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: each event updates the counts."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for batch, existence in batches(windows, self._batch, self._timeline):
            self._popularity.resize(existence.items)
            scores = np.empty((len(batch), existence.items + 1))
            for i, (context, target) in enumerate(zip(batch.contexts, batch.targets.tolist(), strict=True)):
                scores[i] = self._probabilities(context[None])[0, : existence.items + 1]
                self._add(context, target)
            ranks.append(ranks_of_existing(scores, batch.targets, batch.contexts, existence))
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """Nothing to do: `observe` updates the counts."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for batch, existence in batches(windows, self._batch, self._timeline):
            self._popularity.resize(existence.items)
            scores = self._probabilities(batch.contexts)[:, : existence.items + 1]
            ranks.append(ranks_of_existing(scores, batch.targets, batch.contexts, existence))
        return Scored(np.concatenate(ranks))

    def close(self) -> None:
        """Nothing to release."""

    def _add(self, context: Ids, target: int) -> None:
        self._transitions.add(context, target)
        self._popularity.add(ALL, target)

    def _probabilities(self, contexts: Ids) -> Array:
        """(n, length) windows to (n, items + 1) probabilities."""
        fallback = self._popularity.regional_by(0, ALL)
        everything = np.arange(len(fallback))
        followed = np.stack([self._transitions.scores(context).at(everything) for context in contexts])
        total = followed.sum(axis=1, keepdims=True)
        # An event whose newest item is the window's newest counts 1.
        evidence = total / self._whole
        known = evidence / (evidence + self._shrinkage)
        probabilities: Array = known * (followed / np.maximum(total, 1.0)) + (1.0 - known) * fallback
        return probabilities
