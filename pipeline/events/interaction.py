"""Events from outside: interactions and items.

Every record from outside passes `parse_interaction` or `parse_item`. They return a valid event, or raise a `BadEvent`
with a reason that can be counted.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pipeline.errors import BadEvent
from pipeline.events.cells import MAX_ID_LENGTH, identifier, is_absent, is_unicode, moment, number

__all__ = ["DIGEST_BYTES", "MAX_ID_LENGTH", "MAX_TEXT_LENGTH", "SEPARATOR", "Interaction", "Item"]
__all__ += ["parse_interaction", "parse_item"]

SEPARATOR = "\x1f"
"""Character between the fields whose hash is the id of an event without one."""

DIGEST_BYTES = 10
"""Bytes of that hash."""

MAX_TEXT_LENGTH = 100_000
"""Longest item text, in characters."""


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

    def to_record(self) -> dict[str, Any]:
        """As a JSON object of the topic `items`."""
        return {"item_id": self.item_id, "text": self.text, "attributes": dict(self.attributes)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object; fields that are missing are empty."""
        attributes = record.get("attributes")
        known = dict(attributes) if isinstance(attributes, Mapping) else {}
        return cls(str(record.get("item_id", "")), str(record.get("text") or ""), known)


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


def parse_item(record: Mapping[str, object]) -> Item:
    """Validate one item.

    Args:
        record: needs `item_id`; may have `text`; every other field becomes an attribute.

    Raises:
        BadEvent: with reason `not_an_object`, `missing_item_id`, `bad_item_id`, `bad_text`.
    """
    if not isinstance(record, Mapping):
        raise BadEvent("not_an_object", f"an item is an object with fields, not {type(record).__name__}")
    item_id = identifier(record.get("item_id"), "item_id")
    text = record.get("text")
    text = "" if text is None else text
    if not isinstance(text, str) or len(text) > MAX_TEXT_LENGTH or not is_unicode(text):
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


def _content_id(user_id: str, item_id: str, timestamp: float, value: float | None) -> str:
    content = SEPARATOR.join((user_id, item_id, repr(timestamp), repr(value)))
    return hashlib.blake2b(content.encode("utf-8"), digest_size=DIGEST_BYTES).hexdigest()
