"""Items from outside.

Every item from outside passes `parse_item`. It returns a valid item, or raises a `BadEvent` with a reason that can be
counted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import BadEvent
from pipeline.events.cells import identifier, is_absent, is_unicode, moment

MAX_TEXT_LENGTH = 100_000
"""Longest item text, in characters."""

MOMENTS = ("available_from", "expires")
"""Fields of an item that are moments, each optional."""


WHEN_TAKEN = math.inf
"""`available_from` of an item that exists from just after its first interaction; in records the text below."""

_WHEN_TAKEN = "when_taken"


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the catalogue.

    Attributes:
        item_id: id of the item.
        text: description in words, "" where there is none.
        attributes: all other fields, as strings.
        available_from: moment from which the item exists, in seconds since 1970 UTC; `WHEN_TAKEN` for one that exists
            from its first interaction on; None where the source does not say: in a file as `WHEN_TAKEN`, in the log
            from the moment at which its record is read.
        expires: moment at which it ends, in the same unit, later than `available_from`; None: never.
    """

    item_id: str
    text: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    available_from: float | None = None
    expires: float | None = None

    @property
    def moments(self) -> dict[str, float]:
        """The moments that are given, by name."""
        given = {name: getattr(self, name) for name in MOMENTS}
        return {name: value for name, value in given.items() if value is not None}

    def to_record(self) -> dict[str, Any]:
        """As a JSON object of the topic `items`; moments that are not given are left out."""
        moments = {name: _WHEN_TAKEN if moment == WHEN_TAKEN else moment for name, moment in self.moments.items()}
        return {"item_id": self.item_id, "text": self.text, "attributes": dict(self.attributes), **moments}


def parse_item(record: Mapping[str, object]) -> Item:
    """Validate one item.

    Args:
        record: needs `item_id`; may have `text`, and `available_from` and `expires` (seconds or milliseconds since
            1970, or ISO-8601; `available_from` may be `when_taken`). The other fields are attributes: those of the
            object `attributes`, else every one.

    Returns:
        The item, its text without the white space around it, its moments in seconds.

    Raises:
        BadEvent: with reason `not_an_object`, `missing_item_id`, `bad_<field>`; `bad_expires` also for an item that
            ends before it begins.
    """
    if not isinstance(record, Mapping):
        raise BadEvent("not_an_object", f"an item is an object with fields, not {type(record).__name__}")
    item_id = identifier(record.get("item_id"), "item_id")
    begin, end = (_moment(record, name) for name in MOMENTS)
    if begin not in (None, WHEN_TAKEN) and end is not None and end <= begin:
        raise BadEvent("bad_expires", f"item {item_id!r} expires at {end!r}, no later than available_from, {begin!r}")
    return Item(item_id, _text(record, item_id), _attributes(record, item_id), begin, end)


def _moment(record: Mapping[str, object], name: str) -> float | None:
    cell = record.get(name)
    if cell == _WHEN_TAKEN and name == "available_from":
        return WHEN_TAKEN
    return None if is_absent(cell) else moment(cell, name)


def _text(record: Mapping[str, object], item_id: str) -> str:
    text = record.get("text")
    text = "" if text is None else text
    if not isinstance(text, str) or len(text.strip()) > MAX_TEXT_LENGTH or not is_unicode(text):
        limit = f"a Unicode string of at most {MAX_TEXT_LENGTH} characters"
        raise BadEvent("bad_text", f"the text of item {item_id!r} must be {limit}")
    return text.strip()


def _attributes(record: Mapping[str, object], item_id: str) -> dict[str, str]:
    nested = record.get("attributes")
    if nested is None:
        known = ("item_id", "text", "attributes", "schema", *MOMENTS)
        return {str(k): str(v) for k, v in record.items() if k not in known and v is not None}
    if isinstance(nested, Mapping):
        return {str(k): str(v) for k, v in nested.items()}
    raise BadEvent("bad_attributes", f"the attributes of item {item_id!r} must be an object")
