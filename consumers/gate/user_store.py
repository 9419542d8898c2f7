"""Users of one partition of `interactions`, restored from its changelog `users`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from consumers.runtime.malformed import OnSkipped, readable
from pipeline.events.erasure import Erasure, erasure_key, is_erasure_key
from pipeline.events.interaction import Interaction
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.user_state import DIGEST, SENT_ON, UserState, committed_input, digest
from pipeline.events.windows import History
from pipeline.streams.interface import Record


@dataclass(frozen=True, slots=True)
class Erased:
    """A user who was erased.

    Attributes:
        erasure: the request.
        kept: state to keep under the user's `erasure_key`: the time of the erasure, and what a restart needs of the
            offsets and numbers handled.
        names: names under which `gated` may have events of the user.
    """

    erasure: Erasure
    kept: UserState
    names: tuple[str, ...]


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
    _erasures: dict[str, UserState] = field(default_factory=dict)
    _unwritten: list[Erased] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[UserState]:
        """Iterate over the states of users, and over what is kept of erased ones."""
        return chain(self._states.values(), self._erasures.values())

    def get(self, user_id: str) -> UserState | None:
        """A user, or None for a new one."""
        return self._states.get(user_id)

    def history(self, user_id: str) -> History:
        """The history of a user, empty for a new one."""
        state = self._states.get(user_id)
        return History() if state is None else replace(state.history, earlier=state.taken)

    def names(self, user_id: str) -> tuple[str, ...]:
        """Names under which `gated` may have events of a user; none for a new one."""
        state = self._states.get(user_id)
        return () if state is None else state.names(user_id)

    def pseudonym(self, user_id: str) -> str | None:
        """Pseudonym of a user, None where none was given yet."""
        state = self._states.get(user_id)
        return None if state is None else state.pseudonym(user_id)

    def append(
        self, user_id: str, item_id: str, event_id: str, timestamp: float, sequence: int, *, past: bool
    ) -> UserState:
        """Add the newest event of a user; `past` marks one of the set-up slice."""
        state = self._with_key(user_id)
        # Ids are shared among the users that took an item.
        state.append(sys.intern(item_id), self.length, self.remembered_items, since_setup=not past)
        state.event_id, state.timestamp, state.sequence = event_id, timestamp, max(sequence, state.sequence)
        state.seen = (state.seen + digest(event_id))[-DIGEST * self.remembered :]
        return state

    def load(self, loaded: LoadedHistory) -> UserState | None:
        """Put a history of before the live stream in front of what came live.

        Of a user who was erased what is later than the erasure; None where nothing is.
        """
        erased = self._erased(loaded.user_id)
        later = loaded if erased is None else loaded.after(erased.timestamp)
        if later is None:
            return None
        state = self._with_key(loaded.user_id)
        state.load(later, self.length, self.remembered, self.remembered_items)
        return state

    def erase(self, erasure: Erasure) -> Erased | None:
        """Erase a user; None after an erasure as late or later: what the user did since stays."""
        key = erasure_key(erasure.user_id)
        before = self._erasures.get(key)
        if before is not None and erasure.timestamp <= before.timestamp:
            return None
        names = self.names(erasure.user_id)
        gone = [s for s in (before, self._states.pop(erasure.user_id, None)) if s is not None]
        sequence = max((state.sequence for state in gone), default=-1)
        ahead = tuple(sorted({offset for state in gone for offset in state.ahead}))
        kept = UserState(History(), timestamp=erasure.timestamp, sequence=sequence, ahead=ahead)
        self._erasures[key] = kept
        self._unwritten.append(Erased(erasure, kept, names))
        return self._unwritten[-1]

    def take_erased(self) -> list[Erased]:
        """Return the users who were erased since the last call."""
        erased, self._unwritten = self._unwritten, []
        return erased

    def erasure_before(self, event: Interaction) -> UserState | None:
        """Return what is kept of the user of an event that is not later than the user's erasure, None for others."""
        kept = self._erased(event.user_id)
        return kept if kept is not None and event.timestamp <= kept.timestamp else None

    def _erased(self, user_id: str) -> UserState | None:
        return self._erasures.get(erasure_key(user_id)) if self._erasures else None

    def restore(self, records: Iterable[Record], committed: int, on_skipped: OnSkipped) -> None:
        """Apply the changelog of the partition, up to a committed offset of `interactions`.

        Args:
            records: of `users`.
            committed: the offset.
            on_skipped: called with each record of another program: the state before it stays.
        """
        for key, state, position in readable(records, self._parsed, on_skipped):
            states = self._erasures if is_erasure_key(key) else self._states
            if state is None:
                self._states.pop(key, None)
            elif position <= committed:
                states[key] = state
            elif states is self._states:
                self._states.setdefault(key, UserState(History())).keys = state.keys
        others = self._states.pop(SENT_ON, None)
        self.sent_on = set(others.ahead_of(committed)) if others else set()

    def _parsed(self, record: Record) -> tuple[str, UserState | None, int]:
        """Key, state (None for a tombstone) and committed input of a record."""
        if record.key is None:
            raise ValueError("it has no key")
        if record.value is None:
            return record.key, None, 0
        state = UserState.from_record(record.value, self.length, self.setup_items)
        return record.key, state, committed_input(record.value)

    def _with_key(self, user_id: str) -> UserState:
        """The state of a user who may be new, with a key."""
        state = self._states.setdefault(user_id, UserState(History()))
        state.ensure_key()
        return state
