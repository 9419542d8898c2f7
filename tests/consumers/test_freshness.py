"""Time of each step from an event to its effect, by fake clocks."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from consumers.monitor.stage import _since_gated
from consumers.runtime.freshness import newest_gated
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Output, Point
from consumers.runtime.topic_reader import value_of
from consumers.trainer.stage import TrainerStage
from pipeline.streams import MemoryLog, Record
from pipeline.streams.topics import EDITS, GATED, INTERACTIONS, OUTCOMES, REGIONS, pipeline_topics
from pipeline.telemetry import Metrics, new_metrics
from tests.consumers.gating import changed, events, fill, gate_loop, read, said
from tests.consumers.recorded import PARTITIONS, World, monitor_loop
from tests.consumers.run_of_raie import the_run
from tests.consumers.test_loop import Kept
from tests.consumers.test_monitor_stage import lockstep
from tests.consumers.test_trainer_stage import SETTINGS, Script, edits

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

STREAM = 60
"""Events of a test."""


class Clock:
    """Wall clock that stands still until it is moved."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def moved_at(self, point: Point, seconds: float) -> Callable[[Point], None]:
        """Return a kill point that moves this clock whenever a turn passes `point`."""

        def move(passed: Point) -> None:
            self.now += seconds * (passed is point)

        return move


def times(metrics: Metrics, step: str) -> tuple[float, float]:
    """Number and sum of the times of a step."""
    lines = [line.split() for line in metrics.expose().decode().splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, value in lines}
    count, total = (f'raie_freshness_seconds_{part}{{step="{step}"}}' for part in ("count", "sum"))
    return found.get(count, 0.0), found.get(total, 0.0)


def at(record: Record) -> float:
    assert record.written_at is not None
    return record.written_at


def health(metrics: Metrics, clock: Clock) -> LoopHealth:
    return LoopHealth(metrics, lambda: 0.0, lambda _: None, wall_clock=clock)


def test_the_gate_measures_from_the_event_to_its_record_and_on_to_the_gated_one(tmp_path: Path) -> None:
    stream = events()[1][:STREAM]
    clock, metrics = Clock(stream[-1].timestamp + 10.0), new_metrics()
    log = Kept(wall_clock=clock)
    fill(log, [said(e) for e in stream])
    arrived = sum(round(clock.now, 3) - e.timestamp for e in stream)
    slow = clock.moved_at(Point.COMMITTING, 2.5)
    loop = gate_loop(lambda: log, tmp_path, changed(), at=slow, most=1_000, metrics=metrics)
    loop._health = health(metrics, clock)
    loop.run()
    assert times(metrics, "arrived") == (STREAM, pytest.approx(arrived))
    count, seconds = times(metrics, "gated")
    assert count == STREAM, "an event of the past is no part of it"
    # Each is gated in the turn of its commit, or a later one.
    assert seconds >= 2.5 * STREAM
    written = {value_of(r)["event_id"]: at(r) for p in (0, 1) for r in read(log, INTERACTIONS, p)}
    assert seconds == pytest.approx(sum(at(r) - written[value_of(r)["event_id"]] for r in read(log, GATED)))


def test_a_record_of_unknown_time_is_not_measured_and_a_clock_behind_counts_as_nothing() -> None:
    clock, metrics = Clock(100.0), new_metrics()
    outputs = [Output(GATED, {}, None, 0.0), Output(GATED, {}, None, 0.0, since=160.0)]
    health(metrics, clock).committed(outputs)
    assert times(metrics, "gated") == (1.0, 0.0)


def test_the_monitor_measures_from_the_newest_window_of_each_edit() -> None:
    clock = Clock(1.7e9)
    log = Kept(wall_clock=clock)
    loop = monitor_loop(
        World(log, the_run(), lockstep()), lockstep(), lambda: log, clock.moved_at(Point.COMMITTING, 1.0)
    )
    metrics = new_metrics()
    loop._health = health(metrics, clock)
    loop.run()
    gated = {record.offset: at(record) for record in read(log, GATED)}
    expected = []
    for record in (record for partition in range(PARTITIONS) for record in read(log, EDITS, partition)):
        edit = value_of(record)
        newest = max(offset for _, offset, _ in [*edit["windows"], *edit["samples"]])
        expected.append(at(record) - gated[newest])
    assert times(metrics, "decided") == (len(the_run().ledger), pytest.approx(sum(expected)))
    assert max(expected) > 1.0, "some edits wait for others"


def test_an_edit_without_windows_and_one_whose_windows_are_deleted_have_no_beginning() -> None:
    log = MemoryLog(wall_clock=Clock(50.0))
    log.create_topics(pipeline_topics(1))
    with log.producer("gate").transaction() as transaction:
        for _ in range(3):
            transaction.send(GATED, {}, timestamp=1.0, traceparent=TRACE)
    edit = {"windows": [["a", 0, 1], ["c", 2, 1]], "samples": [["b", 1, 1]]}
    assert newest_gated({"windows": [], "samples": []}, log) is None
    newest = newest_gated(edit, log)
    assert newest is not None and (newest.offset, newest.written_at) == (2, 50.0)
    decided = _since_gated(Output(EDITS, edit, "1", 0.0), log)
    assert (decided.since, decided.traceparent) == (50.0, TRACE)
    log.delete_before(GATED, 0, 3)
    assert newest_gated(edit, log) is None


@pytest.mark.parametrize("published", [True, False])
def test_the_trainer_measures_the_training_of_every_edit_and_the_publication_of_those_it_publishes(
    published: bool,
) -> None:
    clock, metrics = Clock(1_000.0), new_metrics()
    log = Kept(wall_clock=clock)
    log.create_topics(pipeline_topics(2))
    chosen = next(i for i, (_, outcome) in enumerate(the_run().ledger) if outcome.published is published)
    edits(log, [chosen], traceparent=TRACE)
    clock.now += 30.0
    stage = TrainerStage(Script(polls=2), metrics, clock=clock)
    slow = clock.moved_at(Point.COMMITTING, 2.0)
    loop = Loop(stage, lambda: log, "t", SETTINGS, 1, Event(), health(metrics, clock), slow)
    with loop._join() as member:
        for _ in range(4):
            loop._turn(member)
    assert times(metrics, "trained") == (1.0, 30.0)
    assert times(metrics, "published") == ((1.0, 2.0) if published else (0.0, 0.0))
    assert len(read(log, REGIONS)) == published
    assert {record.traceparent for topic in (OUTCOMES, REGIONS) for record in read(log, topic)} == {TRACE}
