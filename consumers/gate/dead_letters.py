"""Dead letters: what was refused, why, and from where; what can be read of it is kept, to be replayed after a fix."""

from collections.abc import Mapping
from typing import Any

from consumers.runtime.stage import Output
from pipeline.errors import BadEvent
from pipeline.events.cells import MAX_ID_LENGTH
from pipeline.events.versioning import versioned
from pipeline.streams.codec import UNREADABLE, encode_value
from pipeline.streams.interface import OversizeError, Record
from pipeline.streams.topics import DEAD_LETTERS

MAX_DETAIL = 500
"""Characters of a detail that are kept."""


def readable(record: Record) -> Mapping[str, object]:
    """The object that a record holds.

    Raises:
        BadEvent: `null`, or why the log could not read it (`bad_json`, `not_an_object`, `oversize`).
    """
    if record.value is None:
        raise BadEvent("null", "the record has no value")
    if UNREADABLE in record.value:
        raise BadEvent(str(record.value[UNREADABLE])[:MAX_ID_LENGTH], "the log cannot read the bytes of the value")
    return record.value


def dead_letter(record: Record, error: BadEvent) -> Output:
    """The record of `dead-letters` for one that was refused.

    Its value is kept where it fits into a record; otherwise size and sha256 stand in its place.
    """
    key = None if record.key is None else record.key[:MAX_ID_LENGTH]
    letter: dict[str, Any] = {
        "reason": error.reason,
        "detail": error.detail[:MAX_DETAIL],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": key,
        "value": record.value,
    }
    letter = versioned(letter)
    try:
        encode_value(letter)
    except OversizeError as oversize:
        letter["value"] = dict(oversize.stub)
    # A broker says -1 where a producer gave no time.
    return Output(DEAD_LETTERS, letter, error.reason, max(0.0, record.timestamp))
