"""The monitor stage: reads `gated` and `outcomes`, and writes `edits`.

One instance is active, the owner of the one partition of `gated`. The others stand by: when one becomes the owner, it
restores the newest snapshot of the changelog and repeats the steps after it, which end at the last commit.

Every `consumers.statistics_events` events the stage writes per-region statistics to `statistics`, for people: no stage
reads them.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters_store import AdaptersStore
from consumers.monitor.changelog import ReadPositions, read_newest, snapshot_outputs, step_output
from consumers.monitor.decided import decided_since
from consumers.monitor.driver import MonitorDriver
from consumers.runtime.freshness import newest_gated
from consumers.runtime.lockstep import nothing_gated_since
from consumers.runtime.malformed import SkippedRecords, unsaid
from consumers.runtime.stage import Output, Turn
from consumers.runtime.topic_reader import new_records
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.statistics import StatisticsInterval
from pipeline.events.unlearning import is_event
from pipeline.monitor import Monitor
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record, TopicPartition
from pipeline.streams.topics import EDITS, GATED, ITEMS, OUTCOMES, REGIONS, STATISTICS
from pipeline.telemetry import Metrics


class MonitorStage:
    """See `consumers.runtime.stage.Stage`.

    Args:
        setup: initial regions and calibration.
        config: the whole tree.
        store: has the arrays of revisions that are too large for their records.
        seed: of everything random, and of the edits' trainings.
        metrics: collectors of the statistics.
        say: shows a status line.
    """

    name = "monitor"
    topics = (GATED,)

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        store: AdaptersStore,
        seed: int,
        metrics: Metrics,
        say: Callable[[str], None] = unsaid,
    ) -> None:
        self._skipped = SkippedRecords(metrics, say)
        self._setup = setup
        self._config = config
        self._store = store
        self._seed = seed
        self._metrics = metrics
        self._exported: set[int] = set()
        self._reset()

    def prepare(self, log: Log) -> None:
        """See `Stage.prepare`: all state depends on the offset that the monitor before has committed."""

    def stand_by(self, turn: Turn) -> None:
        """See `Stage.stand_by`: nothing was prepared."""

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        """See `Stage.restore`: outputs of repeated steps are dropped, as they are committed already."""
        self._reset()
        newest = read_newest(log, self._skipped)
        if newest.state is not None:
            self._driver.restore(newest.state, newest.at, log)
        self._number, self._written, self._chunks = newest.number, self._driver.monitor.at_event, newest.chunks
        self._repeat(newest.steps, log)
        self._steps = len(newest.steps)
        self._check_gap(came[GATED, 0], log)
        self._export_statistics()

    def drop(self, went: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """See `Stage.drop`."""
        self._reset()

    def handle(self, turn: Turn) -> Sequence[Output]:
        """Apply one step, if there is anything new."""
        # The group's offsets may have been moved back by hand: no record is counted twice.
        records = [r for r in turn.records if r.offset >= self._driver.at.gated]
        step = self._next_step(turn.log, records)
        if step == self._driver.at and not self._driver.has_more_outputs:
            return []
        outputs = [_since_gated(out, turn.log) for out in self._apply(step, turn.log, records)]
        monitor = self._driver.monitor
        self._steps += 1
        outputs.append(step_output(self._number, self._steps, step, monitor.timestamp))
        is_due = monitor.at_event - self._written >= self._config.consumers.snapshot_events
        if is_due or any(record.value is None for record in records):
            outputs += self._snapshot(step)
        self._export_statistics()
        return outputs

    def close(self) -> None:
        """See `Stage.close`; the stage holds no resources."""

    def _reset(self) -> None:
        self._driver = MonitorDriver(self._setup, self._config, self._store, self._seed, self._skipped)
        self._number = self._steps = self._written = self._chunks = 0

    def _repeat(self, steps: Sequence[ReadPositions], log: Log) -> None:
        """Repeat the steps after a snapshot; where they decide otherwise than in their time, what was written counts.

        Steps at the event of the snapshot are not looked at: which of their edits are in it, nobody knows.
        """
        driver, began = self._driver, self._driver.monitor.at_event
        # In lockstep edits are written one by one, after others have ended.
        in_lockstep = self._config.consumers.lockstep
        written = {} if in_lockstep or not steps else decided_since(log, began + 1, self._skipped)
        made, since = set[str](), driver.at.outcomes

        def correct() -> None:
            at = driver.monitor.at_event
            if not in_lockstep and at > began:
                driver.correct(written.get(at, ()), made, log, since)

        for step in steps:
            records = list(log.read(GATED, 0, driver.at.gated, step.gated))
            if any(map(is_event, records)):
                correct()
                made, since = set(), driver.at.outcomes
            outputs = self._apply(step, log, records)
            edits = (output.value for output in outputs if output.topic == EDITS)
            made |= {str(edit["edit_id"]) for edit in edits if isinstance(edit, Mapping)}
        correct()

    def _apply(self, step: ReadPositions, log: Log, gated: Iterable[Record]) -> list[Output]:
        """Apply a step; add a record of statistics when an interval ends in it."""
        monitor, every = self._driver.monitor, self._config.consumers.statistics_events
        before = monitor.at_event // every
        outputs = self._driver.apply(step, log, gated)
        if monitor.at_event // every > before:
            outputs.append(statistics_output(monitor))
        return outputs

    def _snapshot(self, step: ReadPositions) -> list[Output]:
        monitor = self._driver.monitor
        self._number, self._steps, self._written = self._number + 1, 0, monitor.at_event
        outputs = snapshot_outputs(self._number, self._driver.state(), step, monitor.timestamp, self._chunks)
        self._chunks = len(outputs) - 1
        return outputs

    def _next_step(self, log: Log, records: Sequence[Record]) -> ReadPositions:
        """Positions that the next step reads up to."""
        at = self._driver.at
        gated = records[-1].offset + 1 if records else at.gated
        # Outcomes first: their revisions are then among those read of `regions`, or still to come.
        waiting, outcomes = new_records(log, OUTCOMES, at.outcomes), at.outcomes
        revisions = new_records(log, REGIONS, at.regions)
        known = self._driver.published_edits | {str((r.value or {}).get("edit_id")) for r in revisions}
        for record in waiting:
            # A broker may deliver the outcome before the revision of the same transaction: then the outcome waits.
            is_published = (record.value or {}).get("published") is True
            if is_published and record.key in self._driver.monitor.pending and record.key not in known:
                break
            outcomes = record.offset + 1
        regions = revisions[-1].offset + 1 if revisions else at.regions
        whole = not self._config.consumers.lockstep or nothing_gated_since(log, gated)
        return ReadPositions(gated, outcomes, regions, whole, max(at.items, log.end_offset(ITEMS, 0)))

    def _check_gap(self, committed: int, log: Log) -> None:
        """Raise an error for records between the changelog's end and the group's offset.

        Both are committed in one transaction, so only markers may lie between them.
        """
        for record in log.read(GATED, 0, self._driver.at.gated, max(committed, self._driver.at.gated)):
            raise LogError(
                f"group {self.name} stands at offset {committed} of {GATED}, but its changelog ends before offset "
                f"{record.offset}: the events between would count nowhere. Move the group back to {record.offset}"
            )

    def _export_statistics(self) -> None:
        """Set the metrics, and drop those of regions that ended."""
        before, self._exported = self._exported, set()
        for region_id, signal, statistic in self._driver.monitor.drift_statistics():
            self._exported.add(region_id)
            self._metrics.drift(region_id, signal, statistic)
        for region_id, share in self._driver.monitor.shares().items():
            self._metrics.share.labels(region_id).set(share.own)
            self._metrics.since_share.labels(region_id).set(share.since)
        for region_id, auc in self._driver.monitor.separabilities().items():
            self._metrics.separabilities.labels(region_id).set(auc)
        for region_id in before - self._exported:
            self._metrics.retire(region_id)


def statistics_output(monitor: Monitor) -> Output:
    """Make the record of `statistics` for the events since the last one; it lacks regions without events."""
    rows = [_finite(row) for row in monitor.statistics()]
    interval = StatisticsInterval(monitor.at_event, monitor.timestamp, rows)
    return Output(STATISTICS, interval.to_record(), None, monitor.timestamp)


def _since_gated(output: Output, log: Log) -> Output:
    """Return an edit with time and trace of its newest window in `gated`, and any other output as it is."""
    if output.topic != EDITS or not isinstance(output.value, Mapping):
        return output
    newest = newest_gated(output.value, log)
    return output if newest is None else replace(output, since=newest.written_at, traceparent=newest.traceparent)


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the fields that the record has for all regions; infinite values, of unused detectors, become None."""
    shared = ("origin", "at_event", "timestamp")
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items() if k not in shared}
