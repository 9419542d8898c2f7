"""View of users, built from the log at every start."""

import sys
from collections.abc import Sequence

from pipeline.errors import BadEvent
from pipeline.events.erasure import is_erasure_key
from pipeline.events.user_state import SENT_ON, UserState
from pipeline.events.windows import History
from pipeline.streams.interface import Record
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import USERS

TOPICS = (USERS,)
"""Topics of this view."""


class Users:
    """Histories of users.

    Args:
        length: items of a window.
        setup_items: ids of the items of set-up by row, from 1: older records hold rows.
        partitions: number of partitions of `users`.

    Attributes:
        length: as given.
    """

    def __init__(self, length: int, setup_items: Sequence[str], partitions: int) -> None:
        self.length, self._setup_items, self._partitions = length, setup_items, partitions
        self._histories: dict[str, History] = {}
        self._taken: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._histories)

    def apply(self, record: Record) -> None:
        """Apply a record of `users`; one outside its user's partition is out of date and is left out.

        Raises:
            BadEvent, LookupError, TypeError, ValueError: it cannot be read; nothing changes.
        """
        if record.key == SENT_ON or is_erasure_key(record.key):
            return
        if partition_of(record.key, self._partitions) != record.partition:
            return
        if record.value is None:
            self._histories.pop(str(record.key), None)
            self._taken.pop(str(record.key), None)
            return
        if not isinstance(record.value["history"], list) or not isinstance(record.value.get("taken", []), list):
            raise BadEvent("bad_history", "a history is a list of item ids, and so is what left it")
        state = UserState.from_record(record.value, self.length, self._setup_items)
        history, taken = state.history, tuple(map(sys.intern, state.taken))
        recent = history.since_setup
        if not isinstance(recent, int) or not 0 <= recent <= self.length:
            raise BadEvent("bad_history", f"since_setup must be 0 to {self.length}, not {str(recent)[:40]!r}")
        # Each id is in memory once, however many users took the item.
        self._histories[str(record.key)] = History(tuple(map(sys.intern, history.items)), recent)
        if taken:
            self._taken[str(record.key)] = taken

    def ids(self) -> list[str]:
        """Ids of all users, in their order."""
        return sorted(self._histories)

    def history(self, user_id: str) -> History:
        """The history of a user, empty for an unknown one."""
        return self._histories.get(user_id, History())

    def earlier(self, user_id: str) -> tuple[str, ...]:
        """Distinct items that left the history, the one that left last at the end."""
        return self._taken.get(user_id, ())

    def taken(self, user_id: str) -> tuple[str, ...]:
        """Everything that a user is known to have taken: the history, and the items that left it."""
        return (*self.earlier(user_id), *self.history(user_id).items)
