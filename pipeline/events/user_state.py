"""Records of `users`: one user's history, and the ids of the events that it holds.

    history      item ids, oldest first
    disliked     places in `history` of items that were disliked, where there are any; the others were taken
    since_setup  number of these, the newest ones, that came after the set-up slice
    forked       number of those before them that came live, but before the gate was forked for this set-up
    taken        distinct items that left the history, the one that left last at the end; bounded
    latest       id and time of the newest event
    seen         digests of the newest event ids, to recognise duplicates
    sequence     in lockstep, the number of the newest event
    ahead        offsets of `interactions` handled although an earlier one still waits for its time
    keys         hex keys of the user's pseudonyms in `gated`, the one in use last; an empty one is of records that
                 have the user id itself, as all do where the field is missing
    input        offset of `interactions` committed by the same transaction

A tombstone erases the user. A record under an `erasure_key` remembers that: it has the time of the erasure in `latest`,
and no history. A record under the key `SENT_ON` is of no user: its `ahead` names the offsets of records
that belong to users of other partitions and were sent on to these.
"""

import base64
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self, TypeVar

from pipeline.events.field_types import checked, places_of
from pipeline.events.item_ids import item_ids
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.pseudonym import new_key, pseudonym
from pipeline.events.versioning import versioned
from pipeline.events.windows import History

T = TypeVar("T")

SENT_ON = ""
"""Key of the record of a partition's records that were sent on; no user id is empty."""

BEFORE_KEYS = ("",)
"""`keys` of a record that lacks them."""

DIGEST = 8
"""Bytes of an event id's digest."""


def digest(event_id: str) -> bytes:
    """Digest by which an event id is recognised."""
    return hashlib.blake2b(event_id.encode(), digest_size=DIGEST).digest()


def committed_input(record: Mapping[str, Any]) -> int:
    """Offset of `interactions` that was committed together with a record of `users`."""
    return int(record["input"])


def pseudonyms_in(record: Mapping[str, Any], user_id: str) -> list[str]:
    """Pseudonyms of a user by a record of `users`."""
    return [pseudonym(bytes.fromhex(key), user_id) for key in record.get("keys", BEFORE_KEYS) if key]


def names_in(record: Mapping[str, Any], user_id: str) -> list[str]:
    """All names under which `gated` may have events of a user by a record of `users`."""
    return [pseudonym(bytes.fromhex(key), user_id) if key else user_id for key in record.get("keys", BEFORE_KEYS)]


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    """Return each value once, where it is last."""
    return tuple(dict.fromkeys(reversed(tuple(values))))[::-1]


def merged(records: Sequence[Mapping[str, Any]], position: int) -> dict[str, Any]:
    """Return one record for the states of one user on several partitions.

    The histories follow each other in the order of their latest events: a history has no times of its own.

    Args:
        records: of `users`, at least one.
        position: offset of `interactions` that the transaction of the new record commits on its partition.
    """
    states = sorted(records, key=lambda state: state["latest"]["timestamp"])
    since_setup = _newest(states, lambda state: state.get("since_setup", 0))
    live = _newest(states, _live_items)
    keys = _distinct(key for state in states for key in state.get("keys", BEFORE_KEYS))
    starts = accumulate((len(state["history"]) for state in states[:-1]), initial=0)
    disliked = [
        start + place for start, state in zip(starts, states, strict=True) for place in state.get("disliked", ())
    ]
    return {
        **{name: value for name, value in states[-1].items() if name not in ("ahead", "disliked", "forked")},
        **({"keys": list(keys)} if any(keys) else {}),
        **({"disliked": disliked} if disliked else {}),
        **({"forked": live - since_setup} if live > since_setup else {}),
        "history": [item for state in states for item in state["history"]],
        "since_setup": since_setup,
        "seen": base64.b64encode(b"".join(base64.b64decode(state["seen"]) for state in states)).decode("ascii"),
        "sequence": max(state.get("sequence", -1) for state in states),
        "taken": list(_distinct(item for state in states for item in state.get("taken", ()))),
        "input": position,
    }


def forked(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of `users` as of another set-up, which learned everything in it: none of its items came since."""
    live = _live_items(record)
    return {**record, "since_setup": 0, **({"forked": live} if live else {})}


def _live_items(record: Mapping[str, Any]) -> int:
    """Number of items of a record that came live."""
    return int(min(record.get("since_setup", 0) + record.get("forked", 0), len(record["history"])))


def _newest(states: Sequence[Mapping[str, Any]], number: Callable[[Mapping[str, Any]], int]) -> int:
    """Number of items that are counted of histories that follow each other, up to the first that is not."""
    counted = 0
    for state in reversed(states):
        counted += number(state)
        if number(state) < len(state["history"]):
            break
    return counted


@dataclass(slots=True)
class UserState:
    """One user.

    Attributes:
        history: the newest items.
        event_id, timestamp: of the newest event.
        seen: digests of the newest events, oldest first.
        sequence: number of the newest event in lockstep, else -1.
        ahead: offsets handled ahead of the committed one.
        taken: distinct items that left the history, the one that left last at the end.
        keys: of the user's names in `gated`, the one in use last; an empty one stands for the user id itself.
        forked: number of items, those before the ones since set-up, that came live before the gate was forked.
    """

    history: History
    event_id: str = ""
    timestamp: float = 0.0
    seen: bytes = b""
    sequence: int = -1
    ahead: tuple[int, ...] = ()
    taken: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()
    forked: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any], length: int, setup_items: Sequence[str]) -> Self:
        """From a JSON object, with the newest `length` items.

        Keys that earlier versions did not write may be missing; so may `since_setup`, which was 0 then.

        Args:
            record: of `users`.
            length: items kept.
            setup_items: ids of the items of set-up by row, from 1: records of schema 1 hold rows.

        Raises:
            LookupError, TypeError, ValueError: it is no such record.
        """
        latest = record["latest"]
        items, disliked = item_ids(record["history"], setup_items), places_of(record, "disliked", record["history"])
        state = cls(
            History.of(items, length, record.get("since_setup", 0), disliked),
            latest["event_id"],
            latest["timestamp"],
            base64.b64decode(record["seen"]),
            record.get("sequence", -1),
            tuple(record.get("ahead", ())),
            tuple(record.get("taken", ())),
            tuple(map(bytes.fromhex, record.get("keys", BEFORE_KEYS))),
            record.get("forked", 0),
        )
        return checked(state)

    def ensure_key(self) -> None:
        """Give a user without a key a new one."""
        if not any(self.keys[-1:]):
            self.keys += (new_key(),)

    def pseudonym(self, user_id: str) -> str | None:
        """Pseudonym of the user, None without a key."""
        return pseudonym(self.keys[-1], user_id) if any(self.keys[-1:]) else None

    def names(self, user_id: str) -> tuple[str, ...]:
        """All names under which `gated` may have events of the user."""
        return tuple(pseudonym(key, user_id) if key else user_id for key in self.keys)

    def append(self, item_id: str, length: int, remembered: int, *, since_setup: bool, disliked: bool = False) -> None:
        """Append an item to a history of at most `length`; at most `remembered` taken items that left it are kept."""
        gone = self.history.items[:1] if len(self.history.items) >= length else ()
        if gone and 0 not in self.history.disliked:
            kept = _distinct((*self.taken, *gone))
            self.taken = kept[max(len(kept) - remembered, 0) :]
        self.history = self.history.append(item_id, length, since_setup=since_setup, disliked=disliked)

    def load(self, loaded: LoadedHistory, length: int, remembered: int, remembered_items: int) -> None:
        """Put a history of before the live stream in front of what came live; a second time it changes nothing.

        A live event that is one of the loaded ones belongs to them from here on.

        Args:
            loaded: the history.
            length: items kept.
            remembered: event ids kept.
            remembered_items: items kept that left the history.
        """
        known = list(map(digest, loaded.event_ids))
        seen = [self.seen[start : start + DIGEST] for start in range(0, len(self.seen), DIGEST)]
        live = self._live_part(seen, known)
        items = (*loaded.items, *live.items)
        disliked = (*loaded.disliked, *(len(loaded.items) + place for place in live.disliked))
        self.history = History.of(items, length, live.since_setup, disliked)
        self.forked = len(live.items) - live.since_setup
        gone = [item for place, item in enumerate(items[: max(len(items) - length, 0)]) if place not in disliked]
        left = _distinct((*loaded.taken, *gone, *self.taken))
        self.taken = left[max(len(left) - remembered_items, 0) :]
        self.seen = b"".join([*known, *(one for one in seen if one not in known)][-remembered:])
        if not live.items:
            self.event_id = loaded.event_ids[-1] if loaded.event_ids else ""
            self.timestamp = loaded.timestamp

    def _live_part(self, seen: Sequence[bytes], known: Collection[bytes]) -> History:
        """The items that came live, without those of events that are known otherwise.

        The newest events are remembered in the order of the items.
        """
        number = min(self.history.since_setup + self.forked, len(self.history.items))
        live = self.history.without(range(len(self.history.items) - number))
        if len(seen) < number:
            return live
        newest = seen[len(seen) - number :]
        return live.without([place for place, one in enumerate(newest) if one in known])

    def to_record(self, position: int) -> dict[str, Any]:
        """As a JSON object, in a transaction that commits `position` of `interactions`."""
        value: dict[str, Any] = {
            "history": list(self.history.items),
            "since_setup": self.history.since_setup,
            "latest": {"event_id": self.event_id, "timestamp": self.timestamp},
            "seen": base64.b64encode(self.seen).decode("ascii"),
            "input": position,
        }
        if self.forked:
            value["forked"] = self.forked
        if self.history.disliked:
            value["disliked"] = list(self.history.disliked)
        if self.taken:
            value["taken"] = list(self.taken)
        if any(self.keys):
            value["keys"] = [key.hex() for key in self.keys]
        if self.sequence >= 0:
            value["sequence"] = self.sequence
        ahead = self.ahead_of(position)
        if ahead:
            value["ahead"] = list(ahead)
        return versioned(value)

    def has_seen(self, event_id: str) -> bool:
        """True if an event of this id is among the remembered ones."""
        wanted = digest(event_id)
        index = self.seen.find(wanted)
        while index > 0 and index % DIGEST:
            # The end of one digest and the start of the next can look like it.
            index = self.seen.find(wanted, index + 1)
        return index >= 0

    def ahead_of(self, position: int) -> tuple[int, ...]:
        """Offsets handled at or after a position."""
        return tuple(offset for offset in self.ahead if offset >= position)
