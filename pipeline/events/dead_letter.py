"""Records of `dead-letters`, and those of `control` that mark them as replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pipeline.errors import BadEvent, LogError
from pipeline.events.interaction import MAX_ID_LENGTH
from pipeline.events.versioning import versioned
from pipeline.streams.codec import UNREADABLE, encode_value, stub
from pipeline.streams.interface import OversizeError, Record

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
        key: its key, cut to the longest id.
        value: its value, or size and sha256 where the value cannot be stored.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: str | None
    value: Mapping[str, Any] | None

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

    @property
    def is_whole(self) -> bool:
        """True where the refused value is stored, so that it can be replayed."""
        return self.value is not None and UNREADABLE not in self.value


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
