"""Records of `interactions` that erase a user, and the keys of `users` under which erasures are remembered.

erase       true
user_id     the user
timestamp   event time of the erasure, seconds; where it is missing, the event time that the log has reached
unlearn     true: what adapters have learned from the user is to be unlearned, too (`pipeline.events.unlearning`)

An erasure takes effect by event time: everything of the user at or before it is erased, in whatever order it arrives.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.events.field_types import time_of
from pipeline.events.versioning import versioned

ERASURES = "\0erased/"
"""Beginning of the keys of `users` that are of erasures: no user id contains NUL."""

DIGEST = 16
"""Bytes of a user id's digest in such a key."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request to erase a user.

    Attributes:
        user_id: the user.
        timestamp: event time up to which the user is erased, seconds.
        is_dated: False where its record gives no time, and `timestamp` is that of the record.
        unlearn: True if adapters that have learned from the user are to be trained anew.
    """

    user_id: str
    timestamp: float
    is_dated: bool = True
    unlearn: bool = False

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        time = {"timestamp": self.timestamp} if self.is_dated else {}
        unlearn = {"unlearn": True} if self.unlearn else {}
        return versioned({"erase": True, "user_id": self.user_id, **time, **unlearn})


def erasure_key(user_id: str) -> str:
    """Key of `users` under which the erasure of a user is remembered: a digest, without the id."""
    return ERASURES + hashlib.blake2b(user_id.encode(), digest_size=DIGEST).hexdigest()


def is_erasure_key(key: str | None) -> bool:
    """True for a key of `users` that is of an erasure and not of a user."""
    return key is not None and key.startswith(ERASURES)


def erased_until(value: Mapping[str, Any] | None) -> float | None:
    """Event time of the erasure that a record of `users` under an `erasure_key` remembers, seconds; None for others."""
    latest = (value or {}).get("latest")
    return time_of(latest.get("timestamp")) if isinstance(latest, Mapping) else None
