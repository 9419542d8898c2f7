"""Traces of users: the user that a record of the log is about, and the time up to which users are erased."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pipeline.datasets.objects import InteractionFields
from pipeline.errors import BadEvent
from pipeline.events.cells import identifier, moment
from pipeline.events.dead_letter import DeadLetter
from pipeline.events.erasure import erasure_key, is_erasure_key
from pipeline.events.field_types import time_of
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.user_state import SENT_ON
from pipeline.streams.interface import Record
from pipeline.streams.topics import DEAD_LETTERS, GATED, INTERACTIONS, USERS


@dataclass(frozen=True, slots=True)
class Trace:
    """The user and the event time of a record; a tombstone is older than everything.

    Attributes:
        user_id: the user, or the pseudonym that stands for one.
        timestamp: event time.
    """

    user_id: str
    timestamp: float


TraceOf = Callable[[Record], Trace | None]
"""Function that returns the trace in a record, None where it names no user."""


def traces_of_topics(columns: Mapping[str, str]) -> dict[str, TraceOf]:
    """Return the function of each topic whose records name users.

    Args:
        columns: field -> key of a record of `interactions` (`data.columns`).
    """
    return {
        INTERACTIONS: partial(_of_interaction, columns),
        USERS: _of_state,
        GATED: _of_gated,
        DEAD_LETTERS: partial(_of_letter, columns),
    }


@dataclass(frozen=True)
class ErasedUsers:
    """Users that were erased.

    Attributes:
        until: event time of the erasure, by `erasure_key`.
    """

    until: Mapping[str, float]

    def covers(self, trace: Trace) -> bool:
        """True for a trace of an erased user, of the time of the erasure or before."""
        until = self.until.get(erasure_key(trace.user_id))
        return until is not None and trace.timestamp <= until


def _of_interaction(columns: Mapping[str, str], record: Record) -> Trace | None:
    return _of_value(columns, record.value, record.key, record.timestamp)


def _of_letter(columns: Mapping[str, str], record: Record) -> Trace | None:
    letter = DeadLetter.from_record(record.value or {})
    if letter.topic != INTERACTIONS:
        return None
    if letter.user_id is not None:
        return Trace(letter.user_id, record.timestamp)
    return _of_value(columns, letter.value, letter.key, record.timestamp)


def _of_value(columns: Mapping[str, str], value: object, key: object, timestamp: float) -> Trace | None:
    """Trace in a value of `interactions`; the key is the user where the value names none."""
    value = value if isinstance(value, Mapping) else {}
    fields = InteractionFields(value, columns)
    try:
        user_id = identifier(fields.value("user_id"), "user_id")
    except BadEvent:
        return Trace(key, timestamp) if isinstance(key, str) and key else None
    if value.get("erase") is True:
        # It is about the time before it, and goes with that.
        return Trace(user_id, -math.inf)
    try:
        if value.get("load") is True:
            return Trace(user_id, LoadedHistory.from_record(value).oldest)
        return Trace(user_id, moment(fields.value("timestamp")))
    except BadEvent:
        return Trace(user_id, timestamp)


def _of_state(record: Record) -> Trace | None:
    if record.key is None or record.key == SENT_ON or is_erasure_key(record.key):
        return None
    return _of_key(record.key, record, (record.value or {}).get("latest"))


def _of_gated(record: Record) -> Trace | None:
    return None if record.key is None else _of_key(record.key, record, record.value)


def _of_key(user_id: str, record: Record, timed: object) -> Trace:
    if record.value is None:
        return Trace(user_id, -math.inf)
    given = time_of(timed.get("timestamp")) if isinstance(timed, Mapping) else None
    return Trace(user_id, record.timestamp if given is None else given)
