"""The trainer stage: applies edits in a child process, one at a time, and publishes the result of each.

    edit polled ──► partitions paused, job begun ──► polls without records ──► job done ──► partitions resumed
                                                     partition lost: job dropped

The child first puts a new version into the store, complete and verified; then region record, outcome and offset are
written in one transaction. A trainer that dies in between leaves an orphan in the store: the next trainer applies the
same edit, and writing the same bytes under the same name changes nothing; other bytes, where the regions or injected
items are no longer those of then, get the next number. An edit that has an outcome is not applied
again. The versions that an Unlearn replaces are destroyed after the transaction, or when the next trainer starts.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.runtime.malformed import SkippedRecords, readable, unsaid
from consumers.runtime.stage import KillPoint, Output, Point, Turn, live_on
from consumers.runtime.topic_reader import new_records, value_of
from consumers.trainer.child_process import TrainingChild
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Consumer, Log, Record, TopicPartition
from pipeline.streams.topics import EDITS, OUTCOMES, REGIONS
from pipeline.telemetry import Metrics


@dataclass(frozen=True)
class Job:
    """An edit that the child is applying.

    Attributes:
        partition: of `edits` that it came from.
        record: its record.
        edit: the edit in it.
        next_revision: offset of `regions` before which all revisions are in force for it.
    """

    partition: TopicPartition
    record: Record
    edit: Edit
    next_revision: int


class TrainerStage:
    """See `consumers.runtime.stage.Stage`.

    Args:
        child: applies edits.
        metrics: counts edits and measures their duration.
        at: called when a new version is in the store and not yet in the log.
        clock: seconds since 1970, for the freshness of what is trained.
        say: shows a status line.
        upkeep: called at each turn of the trainer that has partition 0 of `edits`: one at a time.
        sweep: removes what no revision needs from the store; called at the start, and once an Unlearn is in force.
    """

    name = "trainer"
    topics = (EDITS,)

    def __init__(
        self,
        child: TrainingChild,
        metrics: Metrics,
        at: KillPoint = live_on,
        clock: Callable[[], float] = time.time,
        say: Callable[[str], None] = unsaid,
        upkeep: Callable[[Log], None] = lambda _: None,
        sweep: Callable[[Log], None] = lambda _: None,
    ) -> None:
        self._upkeep = upkeep
        self._skipped = SkippedRecords(metrics, say)
        self._sweep = sweep
        self._unswept = False
        self._child = child
        self._metrics = metrics
        self._at = at
        self._clock = clock
        self._job: Job | None = None
        self._ended: set[str] = set()
        self._outcomes = 0

    def prepare(self, log: Log) -> None:
        """See `Stage.prepare`: a trainer has no state beside the log."""

    def stand_by(self, turn: Turn) -> None:
        """See `Stage.stand_by`: nothing was prepared."""

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:  # noqa: ARG002
        """See `Stage.restore`: a trainer has no state beside the log; its last transaction may have come through."""
        self._unswept = False
        self._sweep(log)

    def drop(self, went: Collection[TopicPartition]) -> None:
        """Drop the job if its partition was lost: the trainer that now has the partition applies the edit anew."""
        if self._job and self._job.partition in went:
            self._job = None
            self._child.stop()

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        """Begin a job if none is under way; publish its result once it is done."""
        if (EDITS, 0) in turn.consumer.assignment:
            self._upkeep(turn.log)
        if self._unswept:
            # The transaction before this turn is committed: nothing in force names what goes now.
            self._unswept = False
            self._sweep(turn.log)
        for record in turn.records:
            self._take(record, turn)
        if self._job is None:
            turn.consumer.resume(turn.consumer.assignment)
            return []
        # A partition that is assigned again is not paused any more.
        turn.consumer.pause(turn.consumer.assignment)
        result = self._child.result()
        if result is None:
            return None
        return self._publish(self._job, result, turn)

    def close(self) -> None:
        """See `Stage.close`."""
        self._job = None
        self._child.stop()

    def _take(self, record: Record, turn: Turn) -> None:
        if self._job is not None:
            _put_back(record, turn.consumer)
            return
        for edit in readable([record], _edit_of, self._skipped):
            if not self._has_ended(edit, turn.log):
                self._begin(record, edit, turn.log)

    def _begin(self, record: Record, edit: Edit, log: Log) -> None:
        self._job = Job((record.topic, record.partition), record, edit, log.end_offset(REGIONS, 0))
        self._child.begin({"edit": edit.to_record(), "next_revision": self._job.next_revision})

    def _has_ended(self, edit: Edit, log: Log) -> bool:
        records = new_records(log, OUTCOMES, self._outcomes)
        self._ended |= {outcome.edit_id for outcome in readable(records, _outcome_of, self._skipped)}
        self._outcomes = records[-1].offset + 1 if records else self._outcomes
        return edit.edit_id in self._ended

    def _publish(self, job: Job, result: Mapping[str, Any], turn: Turn) -> Sequence[Output] | None:
        outcome, revision = result["outcome"], result["revision"]
        if revision and self._is_overtaken(job.edit, revision, new_records(turn.log, REGIONS, job.next_revision)):
            # Another writer was faster, for example a rollback: validate the edit against what is live now.
            self._begin(job.record, job.edit, turn.log)
            return None
        self._at(Point.SAVING)
        self._job = None
        turn.consumer.resume(turn.consumer.assignment)
        self._metrics.edits.labels(outcome["operation"], "published" if outcome["published"] else "rejected").inc()
        self._metrics.training_seconds.observe(result["seconds"])
        trained = self._clock()
        if job.record.written_at is not None:
            self._metrics.fresh("trained", [trained - job.record.written_at])
        timestamp = max(0.0, job.edit.timestamp)
        self._unswept = job.edit.operation is Operation.UNLEARN
        traceparent = job.record.traceparent
        outputs = [Output(OUTCOMES, outcome, job.edit.edit_id, timestamp, traceparent=traceparent)]
        if revision:
            outputs.append(Output(REGIONS, revision, job.record.key, timestamp, since=trained, traceparent=traceparent))
        return outputs

    def _is_overtaken(self, edit: Edit, revision: Mapping[str, Any], newer: Sequence[Record]) -> bool:
        """Return whether one of the newer revisions conflicts with that of an edit."""
        own, rests_on = Revision.from_record(revision), edit.touched
        if edit.operation is Operation.ADD:
            rests_on |= {region.parent for region in own.regions if region.parent is not None}
        return any(own.conflicts_with(other, rests_on) for other in readable(newer, _revision_of, self._skipped))


def _put_back(record: Record, consumer: Consumer) -> None:
    """Leave a record that was polled while a job is under way, and those that follow in its partition, for later."""
    consumer.seek(record.topic, record.partition, min(record.offset, consumer.position(record.topic, record.partition)))


def _edit_of(record: Record) -> Edit:
    return Edit.from_record(value_of(record))


def _outcome_of(record: Record) -> Outcome:
    return Outcome.from_record(value_of(record))


def _revision_of(record: Record) -> Revision:
    return Revision.from_record(value_of(record))
