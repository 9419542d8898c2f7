"""Objects from outside as records of `interactions` or `items`, checked by the parsers of their readers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from consumers.gate.dead_letters import readable
from consumers.gate.parser import InteractionParser
from consumers.runtime.item_records import item_of
from pipeline.config.model import DataSettings
from pipeline.errors import BadEvent, LogError
from pipeline.events.counting import CountingRule
from pipeline.events.erasure import Erasure
from pipeline.streams.codec import encode_value
from pipeline.streams.interface import OversizeError, Record, Transaction
from pipeline.streams.topics import ITEMS

Topic = Literal["interactions", "items"]


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """A record that its readers accept.

    Attributes:
        topic: its topic.
        key: id of its user or item.
        value: the object, encoded.
        timestamp: event time in seconds; of an item, the time at which it was checked.
        erases: True for the erasure of a user.
    """

    topic: Topic
    key: str
    value: bytes
    timestamp: float
    erases: bool = False

    def send(self, transaction: Transaction, traceparent: str | None = None) -> None:
        """Add the record to a transaction, with the trace context of what sends it, if any."""
        transaction.send(self.topic, self.value, key=self.key, timestamp=self.timestamp, traceparent=traceparent)


Check = Callable[[object, float], CheckedRecord]
"""Function of an object and the present time in seconds since 1970; raises `BadEvent` if it cannot be used."""


def checker(topic: Topic, settings: DataSettings) -> Check:
    """Return the check of a topic.

    Interactions that do not count by the settings pass it: the gate leaves them out.

    Args:
        topic: topic of the records.
        settings: names of fields, and the interactions that count.
    """
    place = _item if topic == ITEMS else _Interactions(settings)

    def check(value: object, now: float) -> CheckedRecord:
        if not isinstance(value, Mapping):
            raise BadEvent("not_an_object", f"a record is an object with fields, not {type(value).__name__}")
        key, timestamp, erases = place(Record(topic, 0, 0, None, value, now))
        return CheckedRecord(topic, key, _encoded(value), timestamp, erases)

    return check


class _Interactions:
    """Key and time of interactions, erasures and histories; True of erasures."""

    def __init__(self, settings: DataSettings) -> None:
        rule = CountingRule(settings.positive_from, settings.event_types)
        self._counted = InteractionParser(settings.columns, rule, lambda _: False)
        self._every = InteractionParser(settings.columns, CountingRule(), lambda _: False)

    def __call__(self, record: Record) -> tuple[str, float, bool]:
        parsed = self._counted.parse(record, 0) or self._every.parse(record, 0)
        assert parsed is not None, "every interaction counts by a rule without limits"
        if isinstance(parsed, Erasure):
            return parsed.user_id, parsed.timestamp, True
        return parsed.event.user_id, parsed.event.timestamp, False


def _item(record: Record) -> tuple[str, float, bool]:
    readable(record)
    return item_of(record).item_id, record.timestamp, False


def _encoded(value: Mapping[str, object]) -> bytes:
    try:
        encoded = encode_value(value)
    except OversizeError as error:
        raise BadEvent("oversize", str(error)) from None
    except LogError as error:
        raise BadEvent("bad_json", str(error)) from None
    assert encoded is not None, "only None is encoded as None"
    return encoded
