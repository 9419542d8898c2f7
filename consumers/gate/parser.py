"""Parser of `interactions`: each record is an event, an erasure, or refused with a reason."""

from collections.abc import Callable, Mapping

from consumers.gate.dead_letters import readable
from consumers.gate.event_time_buffer import Arrival
from pipeline.datasets.objects import InteractionFields
from pipeline.datasets.readers.names import EVENT_TYPE
from pipeline.errors import BadEvent
from pipeline.events.cells import identifier, moment
from pipeline.events.counting import CountingRule
from pipeline.events.erasure import Erasure
from pipeline.events.interaction import Interaction
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.versioning import check_schema
from pipeline.streams.interface import Record


class InteractionParser:
    """Parses records of `interactions`.

    Args:
        columns: field -> key of a record, where the names do not show it.
        rule: says which interactions count.
        is_refused: True for an item that must not be added by an interaction.
        dislikes: True to return interactions whose value is below the threshold as dislikes.
    """

    def __init__(
        self,
        columns: Mapping[str, str],
        rule: CountingRule,
        is_refused: Callable[[str], bool],
        *,
        dislikes: bool = False,
    ) -> None:
        self._dislikes = dislikes
        self._columns = columns
        self._rule = rule
        self._is_refused = is_refused

    def parse(self, record: Record, number: int) -> Arrival | Erasure | None:
        """Parse a record; None for an interaction that does not count.

        Args:
            record: of `interactions`.
            number: number of events of its partition read before it.

        Raises:
            BadEvent: the record cannot be used.
        """
        value = readable(record)
        check_schema(value)
        fields = InteractionFields(value, self._columns)
        if value.get("erase") is True:
            return _erasure(record, fields, unlearn=value.get("unlearn") is True)
        if value.get("load") is True:
            return _loaded(record, LoadedHistory.from_record(value), number)
        event = fields.interaction()
        kind = fields.value(EVENT_TYPE) if self._rule.event_types else None
        disliked = not self._rule.counts_value(event.value)
        if not self._rule.counts_kind(kind) or (disliked and not self._dislikes):
            return None
        if not disliked and self._is_refused(event.item_id):
            raise BadEvent(
                "unknown_item",
                f"item {event.item_id!r} is unknown, and items.unknown is `refuse`: announce it in topic items, then "
                "replay the dead letter; or set items.unknown to `add`",
            )
        past, cut = value.get("past") is True, value.get("cut") is True
        sequence = _sequence(value)
        place = (record.partition, record.offset)
        return Arrival(
            *(*place, event, past, sequence, cut, number, record.written_at),
            traceparent=record.traceparent,
            disliked=disliked,
        )

    def user_of(self, record: Record) -> str | None:
        """Return the user of a record, None where it cannot be read."""
        try:
            return identifier(InteractionFields(readable(record), self._columns).value("user_id"), "user_id")
        except BadEvent:
            return None


def _erasure(record: Record, fields: InteractionFields, *, unlearn: bool) -> Erasure:
    given = fields.value("timestamp")
    timestamp = max(0.0, record.timestamp) if given is None else moment(given)
    return Erasure(identifier(fields.value("user_id"), "user_id"), timestamp, given is not None, unlearn)


def _loaded(record: Record, loaded: LoadedHistory, number: int) -> Arrival:
    """Arrival of a history, at the time of its newest event."""
    event_id = loaded.event_ids[-1] if loaded.event_ids else ""
    newest = Interaction(event_id, loaded.user_id, loaded.items[-1], loaded.timestamp)
    place = (record.partition, record.offset)
    return Arrival(*place, newest, past=True, sequence=-1, cut=False, number=number, loaded=loaded)


def _sequence(value: Mapping[str, object]) -> int:
    sequence = value.get("sequence", -1)
    if isinstance(sequence, bool) or not isinstance(sequence, int) or sequence < -1:
        raise BadEvent("bad_sequence", "sequence must be a whole number from 0 on")
    return sequence
