"""STAN: session kNN that weighs the order of items and the age of sessions, without training."""

from typing import ClassVar

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.strategies.baselines.v_sknn import VSknn

DAY = 24 * 3600.0
"""Seconds."""


class Stan(VSknn):
    """Sequence and time aware neighbourhood (Garg et al., 2019), with the histories of users as sessions.

        sim(s, n) = exp(-age(n) / age_decay) sum over the items of both of exp((position(i, s) - |s|) / position_decay)
                    / sqrt(|s| |n|)
        score(j | s) = sum over the nearest sessions n that hold j of sim(s, n) exp(-|position(j, n) - position(i*, n)|
                    / distance_decay)

    i* is the item of n that is the newest in s. The age of a session is that of its newest event. It is measured from
    the newest of the sessions compared, instead of from the current one: a factor that all of them share, like |s|. The
    decays are the defaults of session-rec: of places, a quarter and a half of sessions of 4.1 items.

    Attributes:
        neighbours, sampled: see `VSknn`; the defaults of session-rec as well.
        position_decay: places in the current session.
        age_decay: seconds.
        distance_decay: places in the neighbour's session.
    """

    name: ClassVar[str] = "stan"
    sampled: ClassVar[int] = 5_000
    position_decay: ClassVar[float] = 1.02
    age_decay: ClassVar[float] = 5.0 * DAY
    distance_decay: ClassVar[float] = 2.05

    def _position_weights(self, length: int) -> Array:
        weights: Array = np.exp(np.arange(1 - length, 1) / self.position_decay)
        return weights

    def _similarities(self, users: Ids, overlap: Array) -> Array:
        times = self._histories.last_times(users)
        similarities: Array = overlap * np.exp((times - times.max()) / self.age_decay)
        return similarities / np.sqrt(self._histories.lengths(users))

    def _item_weights(self, items: Ids, lengths: Ids, history: Ids) -> Array:
        order = np.zeros(len(self._histories.counts), dtype=np.int64)
        order[history] = np.arange(1, len(history) + 1)
        starts = np.cumsum(lengths) - lengths
        places = np.arange(len(items))
        is_newest = order[items] == np.repeat(np.maximum.reduceat(order[items], starts), lengths)
        weights: Array = np.exp(-np.abs(places - np.repeat(places[is_newest], lengths)) / self.distance_decay)
        return weights
