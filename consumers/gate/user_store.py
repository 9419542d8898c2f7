"""Users of one partition of `interactions`, restored from its changelog `users` by a kept table.

Users that were seen lately are in memory. A *checkpoint* brings the table up to date from the log itself, so it never
holds what was not committed, and forgets the longest unused of these.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from consumers.runtime.malformed import OnSkipped, readable
from consumers.runtime.user_table import Row, UserTable, is_user_key
from pipeline.events.erasure import Erasure, erasure_key, is_erasure_key
from pipeline.events.interaction import Interaction
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.user_state import DIGEST, SENT_ON, UserState, committed_input, digest
from pipeline.events.windows import History
from pipeline.streams.codec import decode_value, encode_value
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


CACHED = 100_000
"""Users in memory, unless the configuration says otherwise."""


class Change(NamedTuple):
    """A record of `users`.

    Attributes:
        record: the record.
        key: its key.
        state: its state, None for a tombstone.
        input: offset of `interactions` that was committed with it, 0 for a tombstone.
    """

    record: Record
    key: str
    state: UserState | None
    input: int

    def row(self) -> Row | None:
        """Row of the table."""
        state, value = self.state, self.record.raw or encode_value(self.record.value)
        if state is None or value is None:
            return None
        seen = state.timestamp if is_user_key(self.key) else None
        return Row(value, seen, state.sequence, max(state.ahead, default=None))


@dataclass
class UserStore:
    """The users of one partition of `interactions`.

    Args:
        length: items of a window.
        remembered: event ids remembered of each user.
        remembered_items: items remembered of each user beyond the history.
        setup_items: ids of the items of set-up by row: records of schema 1 hold rows.
        table: table of the partition.
        cached: users that a checkpoint leaves in memory.

    Attributes:
        sent_on: offsets of records that were sent on to other partitions, among those not committed at the restore.
    """

    length: int
    remembered: int
    remembered_items: int
    setup_items: Sequence[str]
    table: UserTable = field(default_factory=UserTable)
    cached: int = CACHED
    sent_on: set[int] = field(default_factory=set)
    _states: OrderedDict[str, UserState | None] = field(default_factory=OrderedDict)
    _added: int = 0
    _erasures: int = 0
    _unwritten: list[Erased] = field(default_factory=list)
    _forgotten: dict[str, UserState] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.table.applied.users + self._added

    @property
    def sequence(self) -> int:
        """Largest number of an event in lockstep, or -1."""
        held = [state.sequence for state in self._states.values() if state is not None]
        return max(self.table.applied.sequence, *held, -1)

    def get(self, user_id: str) -> UserState | None:
        """A user, or None for a new one."""
        return self._state(user_id)

    def history(self, user_id: str) -> History:
        """The history of a user, empty for a new one."""
        state = self._state(user_id)
        return History() if state is None else replace(state.history, earlier=state.taken)

    def names(self, user_id: str) -> tuple[str, ...]:
        """Names under which `gated` may have events of a user; none for a new one."""
        state = self._state(user_id)
        return () if state is None else state.names(user_id)

    def pseudonym(self, user_id: str) -> str | None:
        """Pseudonym of a user, None where none was given yet."""
        state = self._state(user_id)
        return None if state is None else state.pseudonym(user_id)

    def append(
        self,
        user_id: str,
        item_id: str,
        event_id: str,
        timestamp: float,
        sequence: int,
        *,
        past: bool,
        disliked: bool = False,
    ) -> UserState:
        """Add the newest event of a user; `past` marks one of the set-up slice, `disliked` a dislike."""
        state = self._with_key(user_id)
        # Ids are shared among the users that took an item.
        state.append(sys.intern(item_id), self.length, self.remembered_items, since_setup=not past, disliked=disliked)
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
        before, user = self._state(key), self._state(erasure.user_id)
        if before is not None and erasure.timestamp <= before.timestamp:
            return None
        names = self.names(erasure.user_id)
        gone = [state for state in (before, user) if state is not None]
        sequence = max((state.sequence for state in gone), default=-1)
        ahead = tuple(sorted({offset for state in gone for offset in state.ahead}))
        kept = UserState(History(), timestamp=erasure.timestamp, sequence=sequence, ahead=ahead)
        self._remove(erasure.user_id)
        self._forgotten.pop(erasure.user_id, None)
        self._states[key] = kept
        self._erasures += 1
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

    def forget(self, since: float, position: int, most: int) -> None:
        """Forget users who were last seen before an event time; called right after a checkpoint.

        Args:
            since: event time, seconds.
            position: offset that may be committed: a user with events ahead of it is still needed.
            most: most users that are looked at, the longest unseen first.
        """
        for user_id in self.table.unseen(since, most):
            state = self._state(user_id)
            if state is not None and state.timestamp < since and not state.ahead_of(position):
                self._remove(user_id)
                self._forgotten[user_id] = state

    def take_forgotten(self) -> dict[str, UserState]:
        """Return the users who were forgotten since the last call, with their last states."""
        forgotten, self._forgotten = self._forgotten, {}
        return forgotten

    def ahead(self, committed: int) -> set[int]:
        """Offsets at or after the committed one that are handled, right after a restore."""
        values = [self._decoded(raw) for raw in self.table.ahead_of(committed)]
        held = [state for state in self._states.values() if state is not None]
        return {offset for state in (*values, *held) for offset in state.ahead_of(committed)}

    def restore(
        self, records: Iterable[Record], committed: int, on_skipped: OnSkipped, end: int = 0, as_of: float | None = None
    ) -> None:
        """Apply the changelog of the partition, up to a committed offset of `interactions`.

        Args:
            records: of `users`, from the position of the table on.
            committed: the offset.
            on_skipped: called with each record of another program: the state before it stays.
            end: offset of `users` at which the records end.
            as_of: wall clock at which that was the end of the log, seconds since 1970.
        """
        beyond = self._catch_up(records, committed, on_skipped, end, as_of)
        for change in beyond:
            self._hold(change, committed)
        others = self._states.pop(SENT_ON, None) or self._state(SENT_ON)
        self.sent_on = set(others.ahead_of(committed)) if others else set()

    def checkpoint(
        self, records: Iterable[Record], committed: int, on_skipped: OnSkipped, end: int, as_of: float
    ) -> bool:
        """Bring the table up to date and keep `cached` users in memory; all that was handled must be committed.

        The arguments are those of `restore`.

        Returns:
            False while erasures and the like wait to be written: nothing was done.
        """
        if self._unwritten or self._forgotten:
            return False
        self._catch_up(records, committed, on_skipped, end, as_of)
        self._added = self._erasures = 0
        while len(self._states) > self.cached:
            self._states.popitem(last=False)
        return True

    def _catch_up(
        self, records: Iterable[Record], committed: int, on_skipped: OnSkipped, end: int, as_of: float | None
    ) -> list[Change]:
        """Apply records to the table; return those from the first one on that was not committed."""
        beyond: list[Change] = []
        for change in readable(records, self._parsed, on_skipped):
            if beyond or change.input > committed:
                beyond.append(change)
                continue
            self.table.put(change.record.offset, change.key, change.row())
            if self.table.is_full:
                self.table.flush(change.record.offset + 1)
        if beyond:
            self.table.flush(beyond[0].record.offset)
        else:
            self.table.flush(max(end, self.table.position), as_of)
        return beyond

    def _hold(self, change: Change, committed: int) -> None:
        """Apply a record that follows one that was not committed, in memory alone."""
        key, state = change.key, change.state
        if state is None:
            self._remove(key)
        elif not is_user_key(key):
            if change.input <= committed:
                self._states[key] = state
                self._erasures += is_erasure_key(key)
        elif change.input <= committed:
            self._add(key, state)
        else:
            self._add(key, replace(self._state(key) or UserState(History()), keys=state.keys))

    def _parsed(self, record: Record) -> Change:
        if record.key is None:
            raise ValueError("it has no key")
        if record.value is None:
            return Change(record, record.key, None, 0)
        state = UserState.from_record(record.value, self.length, self.setup_items)
        return Change(record, record.key, state, committed_input(record.value))

    def _state(self, key: str) -> UserState | None:
        """State under a key, from the table where it is not in memory."""
        if key in self._states:
            self._states.move_to_end(key)
            return self._states[key]
        raw = self.table.get(key)
        if raw is None:
            return None
        state = self._states[key] = self._decoded(raw)
        return state

    def _decoded(self, raw: bytes) -> UserState:
        state = UserState.from_record(decode_value(raw) or {}, self.length, self.setup_items)
        state.history = replace(state.history, items=tuple(map(sys.intern, state.history.items)))
        state.taken = tuple(map(sys.intern, state.taken))
        return state

    def _with_key(self, user_id: str) -> UserState:
        """The state of a user who may be new, with a key."""
        state = self._state(user_id) or UserState(History())
        self._add(user_id, state)
        state.ensure_key()
        return state

    def _add(self, key: str, state: UserState) -> None:
        self._added += self._state(key) is None
        self._states[key] = state

    def _remove(self, key: str) -> None:
        self._added -= self._state(key) is not None
        self._states[key] = None

    def _erased(self, user_id: str) -> UserState | None:
        return self._state(erasure_key(user_id)) if self._erasures or self.table.applied.erasures else None
