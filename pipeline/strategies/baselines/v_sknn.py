"""Vector multiplication session kNN: items of users with a similar newest history, without training."""

from typing import ClassVar

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.strategies.common.history_counter import HistoryCounter


class VSknn(HistoryCounter):
    """V-SKNN (Ludewig and Jannach, 2018), with the histories of users as sessions, updated at each event.

        sim(s, n) = sum over the items of both of position(i, s) / |s|
        score(j | s) = sum over the nearest sessions n that hold j of sim(s, n)

    The position of an item in a session is 1 for the oldest one. Neighbours are drawn from the sessions that hold an
    item of s, those with the newest events; of equally near ones the newest are taken. The user's own session is none
    of them, so no later event of the user is seen there. Numbers of neighbours and sessions are the defaults of the
    authors' framework, session-rec.

    Attributes:
        neighbours: nearest sessions that count.
        sampled: newest sessions among which the nearest are sought.
    """

    name: ClassVar[str] = "v_sknn"
    neighbours: ClassVar[int] = 100
    sampled: ClassVar[int] = 1_000

    def _fill(self, scores: Array, history: Ids, user: str) -> None:
        found = self._histories.users_of.weighted(history, self._position_weights(len(history)))
        others = found.rows != self._histories.number(user)
        users, overlap = found.rows[others], found.values[others]
        if not len(users):
            return
        newest = np.argsort(-self._histories.last_events(users))[: self.sampled]
        users = users[newest]
        similar = self._similarities(users, overlap[newest])
        nearest = np.argsort(-similar, kind="stable")[: self.neighbours]
        items, lengths = self._histories.items(users[nearest]), self._histories.lengths(users[nearest])
        weights = np.repeat(similar[nearest], lengths) * self._item_weights(items, lengths, history)
        scores += np.bincount(items, weights, len(scores))

    def _position_weights(self, length: int) -> Array:
        """(h,) weights of the items of a session, oldest first."""
        weights: Array = np.arange(1, length + 1) / length
        return weights

    def _similarities(self, users: Ids, overlap: Array) -> Array:  # noqa: ARG002
        """(n,) similarities of users, given the sums of the weights of common items."""
        return overlap

    def _item_weights(self, items: Ids, lengths: Ids, history: Ids) -> Array:  # noqa: ARG002
        """(m,) weights of the items of neighbours beside an item of the history.

        Args:
            items: (m,) items, neighbour by neighbour, oldest first.
            lengths: (n,) items of each neighbour.
            history: (h,) items of the current session, oldest first.
        """
        return np.ones(len(items))
