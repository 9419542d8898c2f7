"""Events from outside: interactions and items.

Every record from outside passes `parse_interaction` or `parse_item`. They return a valid event, or raise a `BadEvent`
with a reason that can be counted.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.errors import BadEvent

MAX_ID_LENGTH = 256
"""Longest user, item or event id, in characters."""

MAX_TEXT_LENGTH = 100_000
"""Longest item text, in characters."""

MILLISECONDS_FROM = 1e11
"""Timestamps from here on (year 5138 in seconds, 1973 in milliseconds) are read as milliseconds."""

TIMESTAMP_BELOW = 1000 * MILLISECONDS_FROM
"""Timestamps from here on are neither seconds nor milliseconds (more likely micro- or nanoseconds)."""


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


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the catalogue.

    Attributes:
        item_id: id of the item.
        text: description in words, "" where there is none.
        attributes: all other fields, as strings.
    """

    item_id: str
    text: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def parse_interaction(record: Mapping[str, object]) -> Interaction:
    """Validate one interaction.

    Args:
        record: needs `user_id`, `item_id`, `timestamp` (seconds or milliseconds since 1970); may have
            `value` and `event_id`. A missing event id is a hash of the other four fields, so the same
            interaction read twice has the same id.

    Returns:
        The interaction, its timestamp in seconds.

    Raises:
        BadEvent: with reason `not_an_object`, `missing_<field>`, `bad_<field>`.
    """
    if not isinstance(record, Mapping):
        raise BadEvent("not_an_object", f"an event is an object with fields, not {type(record).__name__}")
    user_id = _identifier(record, "user_id")
    item_id = _identifier(record, "item_id")
    timestamp = _number(record, "timestamp")
    if timestamp is None:
        raise BadEvent("missing_timestamp", "the event has no timestamp")
    timestamp = _seconds(timestamp)
    value = _number(record, "value")
    if record.get("event_id") in (None, ""):
        event_id = _content_id(user_id, item_id, timestamp, value)
    else:
        event_id = _identifier(record, "event_id")
    return Interaction(event_id, user_id, item_id, timestamp, value)


def parse_item(record: Mapping[str, object]) -> Item:
    """Validate one item.

    Args:
        record: needs `item_id`; may have `text`; every other field becomes an attribute.

    Raises:
        BadEvent: with reason `not_an_object`, `missing_item_id`, `bad_item_id`, `bad_text`.
    """
    if not isinstance(record, Mapping):
        raise BadEvent("not_an_object", f"an item is an object with fields, not {type(record).__name__}")
    item_id = _identifier(record, "item_id")
    text = record.get("text")
    text = "" if text is None else text
    if not isinstance(text, str) or len(text) > MAX_TEXT_LENGTH or not _is_unicode(text):
        limit = f"a Unicode string of at most {MAX_TEXT_LENGTH} characters"
        raise BadEvent("bad_text", f"the text of item {item_id!r} must be {limit}")
    return Item(item_id, text, _attributes(record, item_id))


def _attributes(record: Mapping[str, object], item_id: str) -> dict[str, str]:
    nested = record.get("attributes")
    if nested is None:
        known = ("item_id", "text", "attributes")
        return {str(k): str(v) for k, v in record.items() if k not in known and v is not None}
    if isinstance(nested, Mapping):
        return {str(k): str(v) for k, v in nested.items()}
    raise BadEvent("bad_attributes", f"the attributes of item {item_id!r} must be an object")


def _identifier(record: Mapping[str, object], name: str) -> str:
    value = record.get(name)
    if value is None or value == "":
        raise BadEvent(f"missing_{name}", f"the event has no {name}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadEvent(f"bad_{name}", f"{name} must be a string or a whole number, not {type(value).__name__}")
    text = str(value)
    if len(text) > MAX_ID_LENGTH or "\0" in text or not _is_unicode(text):
        raise BadEvent(f"bad_{name}", f"{name} must be at most {MAX_ID_LENGTH} Unicode characters without NUL")
    return text


def _is_unicode(text: str) -> bool:
    """Return True if the text can be stored: JSON can spell half a surrogate pair, which no UTF-8 can."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _seconds(timestamp: float) -> float:
    if not 0 <= timestamp < TIMESTAMP_BELOW:
        raise BadEvent("bad_timestamp", f"{timestamp!r} is neither seconds nor milliseconds since 1970")
    return timestamp / 1000.0 if timestamp >= MILLISECONDS_FROM else timestamp


def _number(record: Mapping[str, object], name: str) -> float | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadEvent(f"bad_{name}", f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise BadEvent(f"bad_{name}", f"{name} must be a number, not {str(value)[:40]!r}") from None
    if not math.isfinite(number):
        raise BadEvent(f"bad_{name}", f"{name} must be finite, not {number!r}")
    return number


def _content_id(user_id: str, item_id: str, timestamp: float, value: float | None) -> str:
    content = "\x1f".join((user_id, item_id, repr(timestamp), repr(value)))
    return hashlib.blake2b(content.encode("utf-8"), digest_size=10).hexdigest()
