"""Records of `dead-letters`, and those of `control` that mark them as replayed.

A refused record of `interactions` stays where it is, and its dead letter refers to it: key and value name a user, and
an erasure finds them there. Before schema 3 dead letters held both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pipeline.errors import BadEvent, LogError
from pipeline.events.interaction import MAX_ID_LENGTH
from pipeline.events.versioning import versioned
from pipeline.streams.codec import UNREADABLE, encode_value, stub
from pipeline.streams.interface import Log, OversizeError, Record, RecordsLostError

MAX_DETAIL = 500
"""Most characters of a detail that are stored."""

REPLAYED = "replayed"
"""Kind, and key, of the record of `control` that lists replayed dead letters."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that a stage refused.

    Attributes:
        reason: short name of the problem, as it is counted.
        detail: the problem in a sentence.
        topic, partition, offset: origin of the refused record.
        key: its key, cut to the longest id; None of a record of `interactions`.
        value: its value, or size and sha256 where the value cannot be stored; None of a record of `interactions`.
        user_id: pseudonym of its user, as in `gated`; None where the gate did not know the user.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: str | None
    value: Mapping[str, Any] | None
    user_id: str | None = None

    @classmethod
    def referring_to(cls, record: Record, error: BadEvent, user_id: str | None) -> Self:
        """Dead letter of a refused record that stays in its topic."""
        place = (record.topic, record.partition, record.offset)
        return cls(error.reason, error.detail[:MAX_DETAIL], *place, None, None, user_id)

    @classmethod
    def of(cls, record: Record, error: BadEvent) -> Self:
        """Dead letter of a refused record; a value that cannot be written is replaced by its hash."""
        key = None if record.key is None else record.key[:MAX_ID_LENGTH]
        place = (record.topic, record.partition, record.offset)
        letter = cls(error.reason, error.detail[:MAX_DETAIL], *place, key, record.value)
        try:
            encode_value(letter.to_record())
        except OversizeError as oversize:
            return replace(letter, value=dict(oversize.stub))
        except LogError:
            # JSON can spell a number beyond all floats; it is read as infinity, which JSON cannot spell.
            return replace(letter, value=stub("bad_json", record.raw or b""))
        return letter

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        fields: dict[str, Any] = {name: record.get(name) for name in cls.__dataclass_fields__}
        return cls(**fields)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return versioned({name: getattr(self, name) for name in self.__dataclass_fields__})

    def record_in(self, log: Log) -> Record | None:
        """The refused record, from the letter or else from its topic; None where it is gone or could not be read."""
        place = (self.topic, self.partition, self.offset)
        found = _at(log, *place) if self.value is None else [Record(*place, self.key, self.value, 0.0)]
        return next((r for r in found if r.value is not None and UNREADABLE not in r.value), None)


def _at(log: Log, topic: str, partition: int, offset: int) -> list[Record]:
    try:
        return list(log.read(topic, partition, offset, offset + 1))
    except RecordsLostError:
        return []


@dataclass(frozen=True, slots=True)
class Replayed:
    """Dead letters that were written back to their topics in one transaction.

    Attributes:
        offsets: offsets of the dead letters in `dead-letters`.
    """

    offsets: Sequence[int]

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self | None:
        """From a record of `control`; None for a record of another kind."""
        return cls(record["offsets"]) if record.get("kind") == REPLAYED else None

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"kind": REPLAYED, "offsets": list(self.offsets)}
