"""The monitor as a stage: in lockstep its edits are those of a replay, wherever it is killed."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from consumers.monitor.changelog import ReadPositions, read_newest, snapshot_outputs, step_output
from consumers.monitor.stage import MonitorStage
from consumers.runtime.stage import Point
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.edit import Operation
from pipeline.monitor.signals import SIGNALS
from pipeline.streams import SqliteLog
from pipeline.streams.topics import EDITS, GATED, MONITOR, STATISTICS, pipeline_topics
from pipeline.telemetry import new_metrics
from tests.consumers.recorded import PARTITIONS, World, monitor_loop
from tests.consumers.run_of_raie import SETTINGS, empty_store, the_run, the_setup


def lockstep(**consumers: object) -> Config:
    quick = SETTINGS.consumers.model_copy(update={"lockstep": True, "poll_timeout": 0.001, **consumers})
    return SETTINGS.model_copy(update={"consumers": quick})


class Killed(BaseException):
    """The process ended here."""


class Killer:
    """Ends the process at a point drawn at random among the next so many."""

    def __init__(self, most: int) -> None:
        self.draw = partial(Random(most).randint, most // 2, most)
        self.left = self.draw()
        self.kills: list[Point] = []

    def __call__(self, point: Point) -> None:
        self.left -= 1
        if self.left == 0:
            self.left = self.draw()
            self.kills.append(point)
            raise Killed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(path)
    yield log
    log.close()


def written_edits(log: SqliteLog) -> list[str]:
    found = []
    for partition in range(PARTITIONS):
        found += [value_of(r) for r in log.read(EDITS, partition, 0, log.end_offset(EDITS, partition))]
    return sorted((json.dumps(value, sort_keys=True) for value in found), key=lambda v: json.loads(v)["at_event"])


def expected() -> list[str]:
    return [json.dumps(edit.to_record(), sort_keys=True) for edit, _ in the_run().ledger]


def by_time(edits: list[str]) -> list[str]:
    return sorted(edits, key=lambda v: (json.loads(v)["at_event"], v))


def test_in_lockstep_the_edits_are_those_of_the_replay(log: SqliteLog, path: Path) -> None:
    world = World(log, the_run(), lockstep())
    monitor_loop(world, lockstep(), lambda: SqliteLog(path)).run()
    assert by_time(written_edits(log)) == by_time(expected())
    assert_every_event_is_in_one_interval(log)


def assert_every_event_is_in_one_interval(log: SqliteLog) -> None:
    intervals = [value_of(record) for record in new_records(log, STATISTICS, 0)]
    ends = [interval["at_event"] for interval in intervals]
    counted = [sum(row["windows"] for row in interval["regions"]) for interval in intervals]
    assert len(ends) == len(the_run().gated) // lockstep().consumers.statistics_events
    assert np.cumsum(counted).tolist() == ends
    drifting = [row for interval in intervals for row in interval["regions"] if row["drift_statistic"] is not None]
    names = {signal.name for signal in SIGNALS}
    assert all(row["signal"] in names and row["threshold"] > 0 for row in drifting) and drifting


@pytest.mark.parametrize(("most", "snapshot_events"), [(14, 20_000), (16, 100), (20, 1)])
def test_killed_and_restarted_it_writes_the_same_edits_once(
    log: SqliteLog, path: Path, most: int, snapshot_events: int
) -> None:
    settings = lockstep(snapshot_events=snapshot_events)
    world, killer = World(log, the_run(), settings), Killer(most)
    while not world.stop.is_set():
        try:
            monitor_loop(world, settings, lambda: SqliteLog(path), killer).run()
        except Killed:
            log.compact(MONITOR)
    assert len(killer.kills) >= 15
    assert len(set(killer.kills)) >= 4
    assert by_time(written_edits(log)) == by_time(expected())
    assert_every_event_is_in_one_interval(log)


def test_a_restored_monitor_shows_its_statistics_again(log: SqliteLog, path: Path) -> None:
    monitor_loop(World(log, the_run(), lockstep()), lockstep(), lambda: SqliteLog(path)).run()
    metrics = new_metrics()
    MonitorStage(the_setup(), lockstep(), empty_store(), 0, metrics).restore({(GATED, 0): 0}, log)
    # A record of statistics has the regions that had a window in its interval.
    intervals = [value_of(record)["regions"] for record in new_records(log, STATISTICS, 0)]
    newest = {row["region_id"]: row for interval in intervals for row in interval}
    retired = [edit for edit, outcome in the_run().ledger if outcome.published and edit.operation is Operation.RETIRE]
    ended = {edit.region_id for edit in retired}
    shown = metrics.expose().decode()
    measured = [i for i, row in newest.items() if row["told_apart"] is not None and i not in ended]
    assert measured
    assert all(f'raie_region_told_apart{{region_id="{region_id}"}} 0.' in shown for region_id in measured)
    assert shown.count("raie_region_share{") == shown.count("raie_region_since_share{") > 0


def test_a_broken_state_is_refused(log: SqliteLog) -> None:
    log.create_topics(pipeline_topics())
    outputs = snapshot_outputs(1, {"monitor": list(range(1000))}, ReadPositions(5, 1, 1), 0.0)
    broken = {**(outputs[0].value or {}), "data": "0" * 40}
    with log.producer("p").transaction() as transaction:
        transaction.send(MONITOR, broken, key=outputs[0].key, timestamp=0.0)
        transaction.send(MONITOR, outputs[1].value, key=outputs[1].key, timestamp=0.0)
    with pytest.raises(LogError, match="state 1 of the monitor is damaged in topic monitor"):
        read_newest(log)


def test_the_newest_state_is_found_behind_many_steps_and_in_many_chunks(log: SqliteLog) -> None:
    log.create_topics(pipeline_topics())
    old, new = {"monitor": "old"}, {"monitor": np.random.default_rng(0).random(60_000).tolist()}
    with log.producer("p").transaction() as transaction:
        for output in [
            *snapshot_outputs(1, old, ReadPositions(1, 0, 0), 0.0),
            step_output(1, 1, ReadPositions(2, 0, 0), 0.0),
            *snapshot_outputs(2, new, ReadPositions(9, 3, 2), 0.0),
            *(step_output(2, n, ReadPositions(9 + n, 3, 2), 0.0) for n in range(1, 301)),
        ]:
            transaction.send(output.topic, output.value, key=output.key, timestamp=0.0)
    for _ in range(2):
        newest = read_newest(log)
        assert (newest.number, newest.state, newest.at) == (2, new, ReadPositions(9, 3, 2))
        assert [s.gated for s in newest.steps] == list(range(10, 310))
        log.compact(MONITOR)
    assert all(len(json.dumps(value_of(r))) < 512_000 for r in new_records(log, MONITOR, 0))
