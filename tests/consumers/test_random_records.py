"""Gate, monitor and trainer go on, and restart, whatever records anyone has written into any topic.

RAIE_SOAK=1 writes 10,000 records into each topic, as `make soak` does.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adapters_store import AdaptersStore
from consumers.erasure.inventory import take_inventory
from consumers.erasure.purge import Purge
from consumers.gate.changelog import OnlineSnapshot, read_snapshot, snapshot_outputs
from consumers.monitor.changelog import ReadPositions, read_newest, step_output
from consumers.monitor.stage import MonitorStage
from consumers.runtime.compaction import compact
from consumers.runtime.health import LoopHealth
from consumers.runtime.ledger import Ledger
from consumers.runtime.loop import Loop
from consumers.runtime.malformed import SkippedRecords
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.stage import Output, Stage, Turn
from consumers.trainer.child_process import TrainingChild
from consumers.trainer.job import JobRunner
from consumers.trainer.stage import TrainerStage
from pipeline.errors import LogError
from pipeline.events.edit import Edit
from pipeline.events.erasure import Erasure
from pipeline.streams import Log, MemoryLog, SqliteLog
from pipeline.streams import open_log as open_log_at
from pipeline.streams.topics import (
    DEAD_LETTERS,
    EDITS,
    GATED,
    INTERACTIONS,
    ITEMS,
    MONITOR,
    OUTCOMES,
    REGIONS,
    TREND,
    USERS,
    pipeline_topics,
)
from pipeline.telemetry import Metrics
from tests.broker import settings
from tests.consumers.gating import PARTITIONS, OpenLog, changed, count, events, gate_loop, gated, read, said, write
from tests.consumers.run_of_raie import SETTINGS, empty_store, the_run, the_setup
from tests.consumers.test_faults import setup
from tests.random_records import flood

COUNT = 10_000 if os.environ.get("RAIE_SOAK") else 500
"""Records of a flood in each topic."""

STATE = {
    "history": ["i1"],
    "since_setup": 1,
    "latest": {"event_id": "e1", "timestamp": 1.0},
    "seen": "AAAAAAAAAAA=",
    "input": 0,
}


def good() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Topic -> records of the pipeline itself; a flood has them with a fault each."""
    return {
        INTERACTIONS: [{**said(events()[1][0]), "user_id": "somebody"}],
        ITEMS: [{"item_id": "i1", "title": "Heat", "expires": 2e9}],
        USERS: [STATE],
        GATED: [dict(the_run().gated[0].value or {})],
        REGIONS: [dict(record.value or {}) for record in the_run().regions[:3]],
        EDITS: [the_run().ledger[0][0].to_record()],
        OUTCOMES: [dict(record.value or {}) for record in the_run().outcomes[:3]],
        MONITOR: [{"kind": "step", "snapshot": 0, "gated": 1, "outcomes": 0, "regions": 0, "whole": True}],
    }


def flood_all(log: Log, seed: int) -> None:
    """Write a flood into every topic."""
    for topic in pipeline_topics():
        flood(log, topic.name, good().get(topic.name, [{"kind": "x"}]), COUNT, Random(f"{topic.name}{seed}"))


def skipped(metrics: Metrics, topic: str) -> float:
    lines = metrics.expose().decode().splitlines()
    start = f'raie_skipped_records_total{{topic="{topic}"}} '
    return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))


def run(stage: Stage, open_log: OpenLog, most: int) -> None:
    """Run a stage until the fifth turn in a row in which nothing happens."""
    stop, handle = Event(), stage.handle
    quiet = 0

    def handle_until_quiet(turn: Turn) -> Sequence[Output] | None:
        nonlocal quiet
        outputs = handle(turn)
        quiet = 0 if outputs or turn.records else quiet + 1
        if quiet == 5:
            stop.set()
        return outputs

    stage.handle = handle_until_quiet  # type: ignore[method-assign]
    health = LoopHealth(Metrics(CollectorRegistry()), lambda: 0.0, lambda _: None)
    Loop(stage, open_log, "x", changed().consumers, most, stop, health).run()


class InProcess(TrainingChild):
    """Carries out edits in this process."""

    def __init__(self, runner: JobRunner) -> None:
        super().__init__({})
        self._runner = runner
        self._results: list[Mapping[str, Any]] = []

    def begin(self, job: Mapping[str, Any]) -> None:
        outcome, revision = self._runner.apply(Edit.from_record(job["edit"]), job["next_revision"])
        record = None if revision is None else revision.to_record()
        self._results.append({"outcome": outcome.to_record(), "revision": record, "seconds": 0.0})

    def result(self) -> Mapping[str, Any] | None:
        return self._results.pop(0) if self._results else None

    def stop(self) -> None:
        self._results.clear()


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    log = SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    log.create_topics(pipeline_topics(PARTITIONS))
    return log


@pytest.fixture(params=["sqlite", "kafka"])
def open_any_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    if request.param == "sqlite":
        return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    url, asked = request.getfixturevalue("kafka_url"), settings(session_seconds=6.0)
    return lambda: open_log_at(url, asked)


@pytest.fixture
def any_log(open_any_log: OpenLog) -> Log:
    log = open_any_log()
    log.create_topics(pipeline_topics(PARTITIONS))
    return log


def send_gated(log: Log, start: int, end: int | None) -> None:
    with log.producer("gate").transaction() as transaction:
        for record in the_run().gated[start:end]:
            transaction.send(GATED, record.value, key=record.key, partition=0, timestamp=record.timestamp)


def test_a_gate_survives_any_record_of_any_topic(any_log: Log, open_any_log: OpenLog, tmp_path: Path) -> None:
    stream = [said(event) for event in events()[1][:30]]
    for seed, part in enumerate((stream[:15], stream[15:])):
        flood_all(any_log, seed)
        write(any_log, part)
        metrics = Metrics(CollectorRegistry())
        gate_loop(open_any_log, tmp_path, changed(), metrics=metrics, most=1000).run()
    assert {event["event_id"] for event in stream} <= {str(record.get("event_id")) for record in gated(any_log)}
    assert len({(record.value or {}).get("reason") for record in read(any_log, DEAD_LETTERS)}) > 8
    assert all(skipped(metrics, topic) for topic in (USERS, REGIONS, TREND))
    assert count(metrics, "skipped_records_total") > COUNT


def test_a_monitor_survives_any_record_of_any_topic(any_log: Log, open_any_log: OpenLog) -> None:
    half = len(the_run().gated) // 2
    for seed, (start, end) in enumerate(((0, half), (half, None))):
        flood_all(any_log, seed)
        send_gated(any_log, start, end)
        metrics = Metrics(CollectorRegistry())
        config = changed(consumers={"snapshot_events": 100})
        run(MonitorStage(the_setup(), config, empty_store(), 0, metrics), open_any_log, 200)
        assert all(skipped(metrics, topic) for topic in (GATED, OUTCOMES, REGIONS, MONITOR))
    restored = MonitorStage(the_setup(), config, empty_store(), 0, Metrics(CollectorRegistry()))
    restored.restore({(GATED, 0): any_log.committed("monitor", GATED, 0)}, any_log)
    monitor = restored._driver.monitor
    assert monitor.at_event >= len(the_run().gated) and monitor.pending
    assert monitor.timestamp == max(record.timestamp for record in the_run().gated)


@pytest.mark.usefixtures("capfd")
def test_a_trainer_survives_any_record_of_any_topic(log: Log, open_log: OpenLog, tmp_path: Path) -> None:
    send_gated(log, 0, None)
    edit = the_run().ledger[0][0]
    for seed, ours in enumerate(("first of ours", "second of ours")):
        flood_all(log, seed)
        with log.producer("monitor").transaction() as transaction:
            transaction.send(EDITS, {**edit.to_record(), "edit_id": ours}, key="4", timestamp=0.0)
        metrics = Metrics(CollectorRegistry())
        runner = JobRunner(setup(), SETTINGS, log, AdaptersStore(tmp_path / "adapters"))
        run(TrainerStage(InProcess(runner), metrics), open_log, 1)
        assert ours in {record.key for record in read(log, OUTCOMES)}
        assert all(skipped(metrics, topic) for topic in (EDITS, OUTCOMES))


def test_a_purge_survives_any_record_of_any_topic(log: SqliteLog, open_log: OpenLog, tmp_path: Path) -> None:
    flood_all(log, 0)
    write(log, [said(events()[1][0]), Erasure(events()[1][0].user_id, 2e9).to_record()])
    gate_loop(open_log, tmp_path, changed(), most=1000).run()
    compact(log)
    assert Purge({}, lambda: 2e9)(log)
    assert take_inventory(log, events()[1][0].user_id, changed()).until == 2e9
    assert Ledger(log, PARTITIONS).poll() is not None


def test_an_edit_that_cannot_be_carried_out_is_rejected(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = MemoryLog()
    log.create_topics(pipeline_topics(PARTITIONS))
    send_gated(log, 0, None)
    record = next(edit for edit, _ in the_run().ledger).to_record()
    runner = JobRunner(setup(), SETTINGS, log, AdaptersStore(tmp_path))
    for fault, why in (
        ({"operation": "update", "region_id": 99}, "it cannot be carried out: KeyError: 99"),
        ({"region_id": 123_456}, "it cannot be carried out: ValueError: region 123456"),
        ({"windows": [["another", 0, 4]]}, "its windows are lost: gated/0 does not hold event another"),
        ({"windows": []}, "it cannot be carried out"),
    ):
        outcome, revision = runner.apply(Edit.from_record(record | fault), 0)
        assert revision is None and not outcome.published and outcome.detail.startswith(why), outcome
    assert "Traceback" in capfd.readouterr().err


def test_a_skipped_record_is_counted_once_and_the_first_is_reported(log: Log) -> None:
    lines: list[str] = []
    metrics = Metrics(CollectorRegistry())
    report = SkippedRecords(metrics, lines.append)
    flood(log, REGIONS, [{"kind": "x"}], 20, Random(0))
    for _ in range(3):
        assert not list(RevisionFollower(the_setup().bank, empty_store().arrays, report).poll(log))
    assert skipped(metrics, REGIONS) == 20
    (line,) = lines
    assert line.startswith("the record of regions/0 at offset 0 cannot be read and is skipped")


def test_a_damaged_revision_of_a_published_edit_is_an_error(log: Log) -> None:
    published = the_run().regions[0]
    edit_id = str((published.value or {})["edit_id"])
    follower = RevisionFollower(the_setup().bank, empty_store().arrays, lambda *_: None)
    damaged = {**(published.value or {}), "regions": [{"x": 1}]}
    with log.producer("a").transaction() as transaction:
        transaction.send(REGIONS, damaged, key="4", timestamp=0.0)
    assert not list(follower.poll(log)), "no stage of ours published this edit"
    outcome = next(record for record in the_run().outcomes if record.key == edit_id)
    with log.producer("a").transaction() as transaction:
        transaction.send(OUTCOMES, outcome.value, key=edit_id, timestamp=0.0)
        transaction.send(REGIONS, damaged, key="4", timestamp=0.0)
    with pytest.raises(LogError, match="regions/0 at offset 1 is damaged"):
        list(follower.poll(log))


def send(log: Log, outputs: Sequence[Output]) -> None:
    with log.producer("state").transaction() as transaction:
        for out in outputs:
            transaction.send(out.topic, out.value, key=out.key, partition=0, timestamp=out.timestamp)


def test_a_gates_own_damaged_state_is_an_error_and_that_of_others_is_none(log: Log) -> None:
    kept = OnlineSnapshot({}, 7, 0, 0, [], [])
    send(log, [Output(TREND, {"gate": "g"}, "g/00000", 0.0), *snapshot_outputs("g", kept, 0.0)])
    send(log, [Output(TREND, {"gate": "g"}, "another key", 0.0), Output(TREND, {"gate": "h"}, "h/00000", 0.0)])
    assert read_snapshot(log, "g", empty_store().arrays) == kept
    send(log, [Output(TREND, {"gate": "g"}, "g/00000", 0.0)])
    with pytest.raises(LogError, match="the trend of gate g is damaged"):
        read_snapshot(log, "g", empty_store().arrays)


def test_a_monitors_step_that_is_damaged_is_an_error(log: Log) -> None:
    steps = [step_output(0, number, ReadPositions(number), 0.0) for number in (1, 2, 3)]
    send(log, [steps[0], Output(MONITOR, {"kind": "step"}, "somebody", 0.0), *steps[1:]])
    assert [step.gated for step in read_newest(log).steps] == [1, 2, 3]
    send(log, [Output(MONITOR, {"kind": "step", "snapshot": 0}, "step-000004", 0.0)])
    send(log, [step_output(0, 5, ReadPositions(5), 0.0)])
    with pytest.raises(LogError, match="a step after state 0 of the monitor is damaged"):
        read_newest(log)
