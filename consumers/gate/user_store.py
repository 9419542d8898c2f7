"""Users of one partition of `interactions`, restored from its changelog `users`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.user_state import DIGEST, SENT_ON, UserState, committed_input, digest
from pipeline.events.windows import History
from pipeline.streams.interface import Record


@dataclass
class UserStore:
    """The users of one partition of `interactions`.

    Args:
        length: items of a window.
        remembered: event ids remembered of each user.
        remembered_items: items remembered of each user beyond the history.
        setup_items: ids of the items of set-up by row: records of schema 1 hold rows.

    Attributes:
        sent_on: offsets of records that were sent on to other partitions, among those not committed at the restore.
    """

    length: int
    remembered: int
    remembered_items: int
    setup_items: Sequence[str]
    sent_on: set[int] = field(default_factory=set)
    _states: dict[str, UserState] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[UserState]:
        return iter(self._states.values())

    def get(self, user_id: str) -> UserState | None:
        """A user, or None for a new one."""
        return self._states.get(user_id)

    def history(self, user_id: str) -> History:
        """The history of a user, empty for a new one."""
        state = self._states.get(user_id)
        return History() if state is None else state.history

    def append(
        self, user_id: str, item_id: str, event_id: str, timestamp: float, sequence: int, *, past: bool
    ) -> UserState:
        """Add the newest event of a user; `past` marks one of the set-up slice."""
        state = self._states.get(user_id)
        if state is None:
            state = self._states[user_id] = UserState(History())
        # Ids are shared among the users that took an item.
        state.append(sys.intern(item_id), self.length, self.remembered_items, since_setup=not past)
        state.event_id, state.timestamp, state.sequence = event_id, timestamp, max(sequence, state.sequence)
        state.seen = (state.seen + digest(event_id))[-DIGEST * self.remembered :]
        return state

    def load(self, loaded: LoadedHistory) -> UserState:
        """Put a history of before the live stream in front of what came live."""
        state = self._states.setdefault(loaded.user_id, UserState(History()))
        state.load(loaded, self.length, self.remembered, self.remembered_items)
        return state

    def erase(self, user_id: str, position: int) -> UserState | None:
        """Erase a user.

        Returns:
            The state that has to be kept: offsets handled ahead of `position`, without which their events would be
            scored again after a restart. None if there are none.
        """
        state = self._states.pop(user_id, None)
        ahead = state.ahead_of(position) if state else ()
        if not ahead:
            return None
        self._states[user_id] = UserState(History(), ahead=ahead)
        return self._states[user_id]

    def restore(self, records: Iterable[Record], committed: int) -> None:
        """Apply the changelog of the partition, up to a committed offset of `interactions`."""
        for record in records:
            if record.value is None:
                self._states.pop(str(record.key), None)
            elif committed_input(record.value) <= committed:
                self._states[str(record.key)] = UserState.from_record(record.value, self.length, self.setup_items)
        others = self._states.pop(SENT_ON, None)
        self.sent_on = set(others.ahead_of(committed)) if others else set()
