"""Histories of all users so far, and the users of each item."""

from array import array

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import PADDING, Ids, Windows
from pipeline.online.pair_counts import PairCounts

NUMBER_BYTES = 8
"""Bytes of an item, a count or a time."""


class UserHistories:
    """Distinct items of each user, in the order in which they were last taken.

    Users have numbers from 0 on, in order of appearance.

    Args:
        items: highest catalogue row.

    Attributes:
        counts: (items + 1,) number of users who took each item.
        users_of: item -> users who took it, with count 1.
    """

    def __init__(self, items: int) -> None:
        self.counts = np.zeros(items + 1, dtype=np.int64)
        self.users_of = PairCounts()
        self._numbers: dict[str, int] = {}
        self._items: list[array[int]] = []
        self._lengths, self._events, self._times = array("q"), array("q"), array("d")
        self._added = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the histories, of the index and of the user ids."""
        numbers = 3 * len(self) + sum(len(items) for items in self._items)
        ids = sum(len(user.encode()) for user in self._numbers)
        return NUMBER_BYTES * numbers + ids + self.counts.nbytes + self.users_of.memory_bytes

    def number(self, user: str) -> int:
        """Number of a user, -1 for one who took nothing yet."""
        return self._numbers.get(user, -1)

    def add(self, user: str, item: int, time: float) -> Ids:
        """Append an interaction, with its time in seconds.

        Returns:
            (m,) items that the user has beside it and did not have with it before: none if it was taken again.
        """
        number = self._numbers.setdefault(user, len(self._items))
        if number == len(self._items):
            self._items.append(array("q"))
            self._lengths.append(0)
            self._events.append(0)
            self._times.append(0.0)
        self._added += 1
        self._events[number], self._times[number] = self._added, time
        items = self._items[number]
        if item in items:
            items.remove(item)
            items.append(item)
            return np.zeros(0, dtype=np.int64)
        before = np.array(items, dtype=np.int64)
        items.append(item)
        self._lengths[number] += 1
        self.counts[item] += 1
        self.users_of.add(np.array([item]), np.array([number]), np.ones(1, dtype=np.int64))
        return before

    def items(self, numbers: Ids) -> Ids:
        """(m,) items of (n,) users, user by user, oldest first."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(self._items[number] for number in numbers.tolist())])

    def lengths(self, numbers: Ids) -> Ids:
        """(n,) numbers of items of (n,) users."""
        lengths: Ids = np.frombuffer(self._lengths, dtype=np.int64)[numbers]
        return lengths

    def last_events(self, numbers: Ids) -> Ids:
        """(n,) counts of events up to the newest one of each of (n,) users."""
        events: Ids = np.frombuffer(self._events, dtype=np.int64)[numbers]
        return events

    def last_times(self, numbers: Ids) -> Array:
        """(n,) seconds of the newest event of each of (n,) users."""
        times: Array = np.frombuffer(self._times)[numbers]
        return times


def history_before(windows: Windows, row: int) -> Ids:
    """(h,) distinct items of a user at the moment of a window, oldest first: those of the window and earlier ones."""
    taken = np.concatenate([windows.earlier[row], windows.contexts[row]])
    newest = dict.fromkeys(reversed(taken[taken > PADDING].tolist()))
    return np.array(list(newest)[::-1], dtype=np.int64)
