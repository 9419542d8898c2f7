"""Interactions from outside.

Every interaction from outside passes `parse_interaction`. It returns a valid event, or raises a `BadEvent` with a
reason that can be counted.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import BadEvent
from pipeline.events.cells import MAX_ID_LENGTH, identifier, is_absent, moment, number

__all__ = ["DIGEST_BYTES", "MAX_ID_LENGTH", "SEPARATOR", "Interaction", "parse_interaction"]

SEPARATOR = "\x1f"
"""Character between the fields whose hash is the id of an event without one."""

DIGEST_BYTES = 10
"""Bytes of that hash."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One interaction of a user with an item.

    Attributes:
        event_id: id of the event; a second event of the same id is a duplicate.
        user_id: id of the user.
        item_id: id of the item.
        timestamp: event time, in seconds since 1970 UTC.
        value: strength of the interaction (a rating, a dwell time), or None where the log has no such column.
    """

    event_id: str
    user_id: str
    item_id: str
    timestamp: float
    value: float | None = None


def parse_interaction(record: Mapping[str, object]) -> Interaction:
    """Validate one interaction.

    Args:
        record: needs `user_id`, `item_id`, `timestamp` (seconds or milliseconds since 1970, or ISO-8601); may have
            `value` and `event_id`. A missing event id is a hash of the other four fields, so the same
            interaction read twice has the same id.

    Returns:
        The interaction, its timestamp in seconds.

    Raises:
        BadEvent: with reason `not_an_object`, `missing_<field>`, `bad_<field>`.
    """
    if not isinstance(record, Mapping):
        raise BadEvent("not_an_object", f"an event is an object with fields, not {type(record).__name__}")
    user_id = identifier(record.get("user_id"), "user_id")
    item_id = identifier(record.get("item_id"), "item_id")
    timestamp = moment(record.get("timestamp"))
    value = number(record.get("value"), "value")
    given = record.get("event_id")
    event_id = _content_id(user_id, item_id, timestamp, value) if is_absent(given) else identifier(given, "event_id")
    return Interaction(event_id, user_id, item_id, timestamp, value)


def _content_id(user_id: str, item_id: str, timestamp: float, value: float | None) -> str:
    content = SEPARATOR.join((user_id, item_id, repr(timestamp), repr(value)))
    return hashlib.blake2b(content.encode("utf-8"), digest_size=DIGEST_BYTES).hexdigest()
