"""Refusal of records: readable values in, records of `dead-letters` out."""

from collections.abc import Mapping

from consumers.runtime.stage import Output
from pipeline.errors import BadEvent
from pipeline.events.cells import MAX_ID_LENGTH
from pipeline.events.dead_letter import DeadLetter
from pipeline.streams.codec import FORMATS, UNREADABLE
from pipeline.streams.interface import Record
from pipeline.streams.topics import DEAD_LETTERS


def readable(record: Record) -> Mapping[str, object]:
    """The object that a record holds.

    Raises:
        BadEvent: `null`, or the reason that the log gives (`bad_json`, `not_an_object`, `oversize`, a format).
    """
    if record.value is None:
        raise BadEvent("null", "the record has no value")
    if UNREADABLE in record.value:
        reason = str(record.value[UNREADABLE])[:MAX_ID_LENGTH]
        raise BadEvent(reason, FORMATS.get(reason, "the log cannot read the bytes of the value"))
    return record.value


def dead_letter(record: Record, error: BadEvent, user_id: str | None = None, pseudonym: str | None = None) -> Output:
    """The record of `dead-letters` for a refused record.

    Args:
        record: of `interactions`, where it stays.
        error: the problem.
        user_id: the user; None where the record names none.
        pseudonym: of the user; None where none was given.
    """
    detail = error.detail if user_id is None else error.detail.replace(repr(user_id), repr("..."))
    letter = DeadLetter.referring_to(record, BadEvent(error.reason, detail), pseudonym).to_record()
    # A broker gives -1 where a producer gave no time.
    return Output(DEAD_LETTERS, letter, error.reason, max(0.0, record.timestamp))
