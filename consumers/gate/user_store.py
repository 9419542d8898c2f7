"""What the gate remembers of the users of one partition, and how `users` keeps it.

A record of `users` holds everything of one user as of a transaction:

    history      catalogue rows, oldest first, without padding
    since_setup  how many of these, the newest ones, set-up had not learned from
    latest       id and time of the newest event
    seen         digests of the newest event ids: what comes again is a duplicate
    sequence     in lockstep, the number of the newest event
    ahead        offsets of `interactions` handled although an earlier one still waits for its time
    input        offset of `interactions` that the same transaction committed

A tombstone erases the user.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.events.versioning import versioned
from pipeline.events.windows import PADDING, History
from pipeline.streams.interface import Record

DIGEST = 8
"""Bytes of an event id's digest."""


def digest(event_id: str) -> bytes:
    """What is remembered of an event id."""
    return hashlib.blake2b(event_id.encode(), digest_size=DIGEST).digest()


@dataclass(slots=True)
class UserState:
    """One user.

    Attributes:
        rows: (length,) int32 catalogue rows as bytes, left-padded; a small object, since there are many.
        since_setup: how many of these, the newest ones, set-up had not learned from.
        event_id, timestamp: of the newest event.
        seen: digests of the newest events, oldest first.
        sequence: of the newest event in lockstep, else -1.
        ahead: offsets handled ahead of the committed one.
    """

    rows: bytes
    since_setup: int = 0
    event_id: str = ""
    timestamp: float = 0.0
    seen: bytes = b""
    sequence: int = -1
    ahead: tuple[int, ...] = ()

    def has_seen(self, event_id: str) -> bool:
        """Whether an event of this id was there among those that are remembered."""
        wanted = digest(event_id)
        place = self.seen.find(wanted)
        while place > 0 and place % DIGEST:
            # The end of one digest and the beginning of the next look like it.
            place = self.seen.find(wanted, place + 1)
        return place >= 0

    def to_record(self, position: int) -> dict[str, Any]:
        """The value of a record of `users`, in a transaction that commits this position."""
        rows = np.frombuffer(self.rows, dtype=np.int32)
        value: dict[str, Any] = {
            "history": rows[rows != PADDING].tolist(),
            "since_setup": self.since_setup,
            "latest": {"event_id": self.event_id, "timestamp": self.timestamp},
            "seen": base64.b64encode(self.seen).decode("ascii"),
            "input": position,
        }
        if self.sequence >= 0:
            value["sequence"] = self.sequence
        ahead = [offset for offset in self.ahead if offset >= position]
        if ahead:
            value["ahead"] = ahead
        return versioned(value)


@dataclass
class Users:
    """The users of one partition of `interactions`.

    Args:
        length: items of a window.
        remembered: event ids remembered of each user.
    """

    length: int
    remembered: int
    _states: dict[str, UserState] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[UserState]:
        return iter(self._states.values())

    def get(self, user_id: str) -> UserState | None:
        """A user, or None for one never met."""
        return self._states.get(user_id)

    def history(self, user_id: str) -> History:
        """What the user met last, left-padded."""
        state = self._states.get(user_id)
        if state is None:
            return History(np.zeros(self.length, dtype=np.int64), 0)
        return History(np.frombuffer(state.rows, dtype=np.int32).astype(np.int64), state.since_setup)

    def append(
        self, user_id: str, row: int, event_id: str, timestamp: float, sequence: int, *, past: bool
    ) -> UserState:
        """Add the newest event of a user; set-up has learned from what is past."""
        state = self._states.get(user_id)
        if state is None:
            state = self._states[user_id] = UserState(bytes(4 * self.length))
        state.rows = state.rows[4:] + row.to_bytes(4, "little")
        state.since_setup = min(state.since_setup + (not past), self.length)
        state.event_id, state.timestamp, state.sequence = event_id, timestamp, max(sequence, state.sequence)
        state.seen = (state.seen + digest(event_id))[-DIGEST * self.remembered :]
        return state

    def erase(self, user_id: str, position: int) -> UserState | None:
        """Forget a user.

        Returns:
            None where nothing is left. Offsets handled ahead of `position` are: without them their events would be
            gated again after a restart.
        """
        state = self._states.pop(user_id, None)
        ahead = tuple(offset for offset in state.ahead if offset >= position) if state else ()
        if not ahead:
            return None
        self._states[user_id] = UserState(bytes(4 * self.length), ahead=ahead)
        return self._states[user_id]

    def restore(self, records: Iterable[Record], committed: int) -> None:
        """Take over the changelog of the partition, up to a committed offset and never beyond."""
        for record in records:
            value: Any = record.value
            if value is None:
                self._states.pop(str(record.key), None)
            elif value["input"] <= committed:
                self._states[str(record.key)] = self._state(value)

    def _state(self, value: Mapping[str, Any]) -> UserState:
        rows = np.zeros(self.length, dtype="<i4")
        history = value["history"][-self.length :]
        if history:
            rows[-len(history) :] = history
        latest = value["latest"]
        seen, ahead = base64.b64decode(value["seen"]), tuple(value.get("ahead", ()))
        sequence = value.get("sequence", -1)
        # A record of an earlier version does not say; that of a user who came before set-up says 0.
        since_setup = value.get("since_setup", 0)
        return UserState(rows.tobytes(), since_setup, latest["event_id"], latest["timestamp"], seen, sequence, ahead)
