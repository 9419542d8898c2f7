"""The monitor stage: observes `gated`, asks for edits, takes in what came of them.

One monitor is active: it owns the one partition of `gated`; others stand by, and restore its course from the
changelog when they get it: the newest state written down, the steps after it, and nothing beyond the commit.

Every `consumers.statistics_events` events it writes to `statistics` how each region does. Nobody decides by these; they
are for people, and what a detector has gathered is known nowhere else.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from consumers.monitor.changelog import ReadPositions, read_newest, snapshot_outputs, step_output
from consumers.monitor.driver import MonitorDriver
from consumers.runtime.lockstep import nothing_gated_since
from consumers.runtime.stage import Output, Turn
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.versioning import versioned
from pipeline.monitor import Monitor
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record, TopicPartition
from pipeline.streams.topics import GATED, OUTCOMES, REGIONS, STATISTICS
from pipeline.telemetry import Metrics


class MonitorStage:
    """See `consumers.runtime.stage.Stage`.

    Args:
        setup: what everything starts from.
        config: the whole tree.
        seed: of everything random, and of the edits' trainings.
        metrics: where statistics go.
    """

    name = "monitor"
    topics = (GATED,)

    def __init__(self, setup: SetUp, config: Config, seed: int, metrics: Metrics) -> None:
        self._setup = setup
        self._config = config
        self._seed = seed
        self._metrics = metrics
        self._shown: set[int] = set()
        self._begin()

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        """See `Stage.restore`: decisions made again on the way were committed when they were first made."""
        self._begin()
        kept = read_newest(log)
        if kept.state is not None:
            self._course.continue_from(kept.state, kept.at, log)
        self._number, self._written = kept.number, self._course.monitor.at_event
        for step in kept.steps:
            self._take(step, log, log.read(GATED, 0, self._course.at.gated, step.gated))
        self._steps = len(kept.steps)
        self._refuse_gap(came[GATED, 0], log)
        self._show()

    def drop(self, went: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """See `Stage.drop`."""
        self._begin()

    def handle(self, turn: Turn) -> Sequence[Output]:
        """Take one step, if there is anything new."""
        # The group's offsets may have been moved back by hand: nothing counts twice.
        records = [r for r in turn.records if r.offset >= self._course.at.gated]
        step = self._next(turn.log, records)
        if step == self._course.at and not self._course.has_more_to_say:
            return []
        outputs = self._take(step, turn.log, records)
        monitor = self._course.monitor
        self._steps += 1
        outputs.append(step_output(self._number, self._steps, step, monitor.timestamp))
        if monitor.at_event - self._written >= self._config.consumers.snapshot_events:
            self._number, self._steps, self._written = self._number + 1, 0, monitor.at_event
            outputs += snapshot_outputs(self._number, self._course.state(), step, monitor.timestamp)
        self._show()
        return outputs

    def close(self) -> None:
        """See `Stage.close`; there is nothing to let go of."""

    def _begin(self) -> None:
        self._course = MonitorDriver(self._setup, self._config, self._seed)
        self._number = self._steps = self._written = 0

    def _take(self, step: ReadPositions, log: Log, gated: Iterable[Record]) -> list[Output]:
        """Take a step; where an interval ends in it, say how the regions did."""
        monitor, every = self._course.monitor, self._config.consumers.statistics_events
        before = monitor.at_event // every
        outputs = self._course.take(step, log, gated)
        if monitor.at_event // every > before:
            outputs.append(statistics_output(monitor))
        return outputs

    def _next(self, log: Log, records: Sequence[Record]) -> ReadPositions:
        """How far to read in the next step."""
        at = self._course.at
        gated = records[-1].offset + 1 if records else at.gated
        # Outcomes first: whatever came of them is then in what is read of `regions`, or on its way.
        waiting, outcomes = new_records(log, OUTCOMES, at.outcomes), at.outcomes
        revisions = new_records(log, REGIONS, at.regions)
        known = self._course.caused | {value_of(r).get("edit_id") for r in revisions}
        for record in waiting:
            # A broker may show the outcome before the revision of the same transaction: then it waits.
            if value_of(record)["published"] and record.key not in known:
                break
            outcomes = record.offset + 1
        regions = revisions[-1].offset + 1 if revisions else at.regions
        whole = not self._config.consumers.lockstep or nothing_gated_since(log, gated)
        return ReadPositions(gated, outcomes, regions, whole)

    def _refuse_gap(self, committed: int, log: Log) -> None:
        """The changelog and the group's offset are of one transaction: between them there are markers at most."""
        for record in log.read(GATED, 0, self._course.at.gated, max(committed, self._course.at.gated)):
            raise LogError(
                f"group {self.name} stands at offset {committed} of {GATED}, but its changelog ends before offset "
                f"{record.offset}: the events between would count nowhere. Move the group back to {record.offset}"
            )

    def _show(self) -> None:
        """Bring the statistics to the metrics."""
        before, self._shown = self._shown, set()
        for region_id, signal, statistic in self._course.monitor.evidence():
            self._shown.add(region_id)
            self._metrics.drift(region_id, signal, statistic)
        for region_id, share in self._course.monitor.shares().items():
            self._metrics.share.labels(region_id).set(share.own)
            self._metrics.since_share.labels(region_id).set(share.since)
        for region_id, auc in self._course.monitor.separabilities().items():
            self._metrics.separabilities.labels(region_id).set(auc)
        for region_id in before - self._shown:
            self._metrics.retire(region_id)


def statistics_output(monitor: Monitor) -> Output:
    """The record of `statistics` for the events since the last one: regions that had none are not in it."""
    rows = [_finite(row) for row in monitor.statistics()]
    value = {"at_event": monitor.at_event, "timestamp": monitor.timestamp, "regions": rows}
    return Output(STATISTICS, versioned(value), None, monitor.timestamp)


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the record says for all regions; a detector that has seen nothing has no statistic."""
    shared = ("origin", "at_event", "timestamp")
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items() if k not in shared}
