"""One id from event to answer: what became of an interaction, or what an answer came from.

    event id ──► interactions ──► gated ──► edits that rest on it ──► version, revision ──► feedback on its answers
    request id ──► region, version, revision ──► edit ──► its newest events; feedback

Every topic on the way is read once, from its first record kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from consumers.runtime.generations import log_in
from consumers.runtime.ledger import Ledger
from consumers.runtime.malformed import readable, unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.topic_reader import value_of
from pipeline.datasets.objects import InteractionFields
from pipeline.errors import BadEvent, DataError
from pipeline.events.edit import Edit, Outcome
from pipeline.events.feedback import Feedback
from pipeline.events.gated import with_event_ids
from pipeline.events.request_id import parse_request_id
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import DEAD_LETTERS, EDITS, FEEDBACK, GATED, INTERACTIONS

SHOWN = 5
"""Ids of events or requests that are listed at most, the newest."""


class Trace:
    """Reader of a log for one id.

    Args:
        log: of the pipeline.
        columns: names of the fields of interactions, setting `data.columns`.
    """

    def __init__(self, log: Log, columns: Mapping[str, str]) -> None:
        self._log, self._columns = log, columns

    def of(self, one: str) -> Iterator[str]:
        """Lines of text about an event or a request, by its id.

        Raises:
            DataError: the log has no such event, or no longer.
        """
        return self._of_request(one) if parse_request_id(one) else self._of_event(one)

    def _of_event(self, event_id: str) -> Iterator[str]:
        sent = [record for record in self._records(INTERACTIONS) if self._event_id(record) == event_id]
        scored = [record for record in self._records(GATED) if (record.value or {}).get("event_id") == event_id]
        if not sent and not scored:
            raise DataError(f"the log has no event {event_id} and no such request; what retention removed is not found")
        yield from (f"interaction: {_place(record)}{_written(record)}" for record in sent)
        places = {(record.partition, record.offset) for record in sent}
        for letter in self._values(DEAD_LETTERS):
            if letter.get("topic") == INTERACTIONS and (letter.get("partition"), letter.get("offset")) in places:
                yield f"refused: {letter['reason']}, {letter['detail']}"
        if not scored:
            yield "gated: not, or not any more"
        for record in scored:
            yield f"gated: {_place(record)}{_written(record)}; {_gated(record.value or {})}"
        yield from self._edits_on(event_id)

    def _edits_on(self, event_id: str) -> Iterator[str]:
        ledger, revisions = self._ledger()
        outcomes = {edit.edit_id: outcome for edit, outcome in ledger.poll()}
        found = [edit for edit in ledger.edits.values() if any(w.is_of(event_id) for w in edit.windows)]
        if not found:
            yield "edits: none rests on it"
        for edit in found:
            outcome = outcomes.get(edit.edit_id)
            yield f"edit {edit.edit_id}: {_edit(edit)}; {_ended(outcome, revisions.get(edit.edit_id))}"
            if outcome is not None and outcome.version:
                yield from self._feedback_on(outcome.version)

    def _feedback_on(self, version: str) -> Iterator[str]:
        on_it = [one for one in self._feedback() if one.adapter == version]
        clicks = sum(one.kind == "click" for one in on_it)
        requests = list(dict.fromkeys(one.request_id for one in reversed(on_it)))
        yield (
            f"feedback on {version}: {len(on_it) - clicks:,} impressions and {clicks:,} clicks"
            + (f"; newest requests: {', '.join(requests[:SHOWN])}" if requests else "")
        )

    def _of_request(self, request_id: str) -> Iterator[str]:
        answered = parse_request_id(request_id)
        assert answered is not None
        if answered.generation is not None:
            self._log = log_in(self._log, answered.generation)
        by = answered.adapter or ("online popularity" if answered.region_id is None else "the backbone")
        of = "" if answered.generation is None else f" of generation {answered.generation}"
        yield f"answer: by {by}{of}, region {_or_none(answered.region_id)}, as of revision {answered.revision}"
        if answered.canary is not None:
            yield f"trial: begun by revision {answered.canary}, bucket {answered.bucket}"
        if answered.split is not None:
            yield f"split: {answered.split}, bucket {answered.part}"
        ledger, revisions = self._ledger()
        for edit, outcome in ledger.poll():
            if answered.adapter is not None and outcome.version == answered.adapter:
                yield f"edit {edit.edit_id}: {_edit(edit)}; {_ended(outcome, revisions.get(edit.edit_id))}"
                newest = replace(edit, windows=edit.windows[-SHOWN:])
                ids = [window.event_id for window in reversed(with_event_ids(newest, self._log).windows)]
                yield f"its newest events: {', '.join(ids)}, of {len(edit.windows):,}"
        on_it = [one for one in self._feedback() if one.request_id == request_id]
        yield from (f"feedback: {one.kind} of {', '.join(one.item_ids) or 'no named item'}" for one in on_it)
        if not on_it:
            yield "feedback: none"

    def _ledger(self) -> tuple[Ledger, dict[str, int]]:
        """The ledger, and edit id -> the last revision that it caused."""
        caused = RevisionFollower(None, None, unreported).poll(self._log)
        return Ledger(self._log, self._log.topic(EDITS).partitions), {
            one.edit_id: number for number, one in caused if one.edit_id is not None
        }

    def _feedback(self) -> Iterator[Feedback]:
        return readable(self._records(FEEDBACK), lambda record: Feedback.from_record(value_of(record)), unreported)

    def _values(self, topic: str) -> Iterator[Mapping[str, Any]]:
        return (record.value for record in self._records(topic) if record.value is not None)

    def _records(self, topic: str) -> Iterator[Record]:
        for partition in range(self._log.topic(topic).partitions):
            start, end = self._log.start_offset(topic, partition), self._log.end_offset(topic, partition)
            if end > start:
                yield from self._log.read(topic, partition, start, end)

    def _event_id(self, record: Record) -> str | None:
        """Id of an interaction; of one that the gate refuses, the id that it came with."""
        if record.value is None:
            return None
        fields = InteractionFields(record.value, self._columns)
        try:
            return fields.interaction().event_id
        except BadEvent:
            given = record.value.get("event_id")
            return None if given is None else str(given)


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}, offset {record.offset}"


def _written(record: Record) -> str:
    if record.written_at is None:
        return ""
    return f", written {datetime.fromtimestamp(record.written_at, UTC).isoformat(timespec='milliseconds')}"


def _gated(value: Mapping[str, Any]) -> str:
    by = f"by {value['gate']} as of revision {value['revision'] - 1}, " if "gate" in value else ""
    rank = value.get("rank") or "none: the item did not exist"
    return f"{by}region {value.get('region_id')}, confidence {value.get('confidence', 0):.2f}, rank {rank}"


def _edit(edit: Edit) -> str:
    return f"{edit.operation} of region {edit.region_id} on {len(edit.windows):,} events"


def _ended(outcome: Outcome | None, revision: int | None) -> str:
    if outcome is None:
        return "not ended yet"
    if not outcome.published:
        return f"rejected: {outcome.detail}"
    number = "" if revision is None else f", revision {revision}"
    return f"published{f' as {outcome.version}' if outcome.version else ''}{number}"


def _or_none(region_id: int | None) -> str:
    return "none" if region_id is None else str(region_id)
