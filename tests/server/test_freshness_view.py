"""Freshness of a server: what the log tells, what it measures itself, in bounded memory."""

import math

import pytest

from consumers.server.views.freshness import KEPT, REMEMBERED, Freshness
from pipeline.streams import Log, MemoryLog, Record
from pipeline.streams.topics import EDITS, GATED, REGIONS, pipeline_topics
from pipeline.telemetry import Metrics, new_metrics
from tests.server.world import A, Server, World, eventually, region


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> MemoryLog:
    log = MemoryLog(wall_clock=clock)
    log.create_topics(pipeline_topics(1))
    return log


def write(log: Log, topic: str, *values: dict[str, object]) -> list[Record]:
    """Write records in one transaction; return them."""
    with log.producer("test").transaction() as transaction:
        for value in values:
            transaction.send(topic, value, key="k", timestamp=1.0)
    (_, _, first), *_ = transaction.offsets
    return list(log.read(topic, 0, first, log.end_offset(topic, 0)))


def edit(edit_id: str, *offsets: int) -> dict[str, object]:
    return {"edit_id": edit_id, "windows": [["e", offset, 1] for offset in offsets], "samples": []}


def observed(metrics: Metrics, step: str) -> float:
    """Sum of the times of a step."""
    lines = metrics.expose().decode().splitlines()
    return sum(float(x.split()[-1]) for x in lines if x.startswith(f'raie_freshness_seconds_sum{{step="{step}"}}'))


def test_the_log_tells_how_long_an_edit_was_decided_and_published(clock: Clock, log: MemoryLog) -> None:
    metrics = new_metrics()
    view = Freshness(clock, metrics)
    records = write(log, GATED, {})
    clock.now += 40
    records += write(log, GATED, {})
    clock.now += 5
    records += write(log, EDITS, edit("a", 0, 1), edit("without windows"))
    clock.now += 120
    records += write(log, REGIONS, {"edit_id": "a"}, {"edit_id": None}, {"edit_id": "of a replay"})
    clock.now += 10_000
    view.read(records)
    assert view.quantiles() == {
        "decided": {"p50": 5.0, "p99": 5.0, "count": 1},
        "published": {"p50": 120.0, "p99": 120.0, "count": 1},
    }
    assert observed(metrics, "decided") == observed(metrics, "published") == 0.0, "monitor and trainer have these"


def test_what_is_in_force_is_measured_by_the_server_itself(clock: Clock, log: MemoryLog) -> None:
    metrics = new_metrics()
    view = Freshness(clock, metrics)
    records = write(log, GATED, {"gate": "g"}, {"gate": "another"}) + write(log, REGIONS, {"edit_id": None})
    clock.now += 0.25
    view.counted(records, "g")
    clock.now += 0.5
    view.served(records)
    assert view.quantiles() == {
        "served": {"p50": 0.75, "p99": 0.75, "count": 1},
        "counted": {"p50": 0.25, "p99": 0.25, "count": 1},
    }
    assert (observed(metrics, "served"), observed(metrics, "counted")) == (0.75, 0.25)


def test_records_of_unknown_time_and_edits_of_lost_windows_leave_it_empty(clock: Clock, log: MemoryLog) -> None:
    view = Freshness(clock, new_metrics())
    write(log, GATED, {})
    edits = write(log, EDITS, edit("a", 0))
    log.delete_before(GATED, 0, 1)
    view.read(edits)
    view.read([Record(EDITS, 0, 1, "k", edit("b"), 1.0), Record(REGIONS, 0, 0, "k", {"edit_id": "b"}, 1.0)])
    view.served([Record(REGIONS, 0, 0, "k", {}, 1.0)])
    tombstones = [Record(topic, 0, 9, "k", None, 1.0, clock.now) for topic in (EDITS, REGIONS, GATED)]
    view.read(tombstones)
    view.counted(tombstones, "g")
    view.counted(write(log, GATED, {}), None)
    assert view.quantiles() == {}


def test_only_the_newest_times_count(clock: Clock, log: MemoryLog) -> None:
    view = Freshness(clock, new_metrics())
    old, new = clock.now - 50.0, clock.now - 1.0
    for written, number in ((old, KEPT), (new, KEPT - 10)):
        view.served([Record(REGIONS, 0, n, "k", {}, 1.0, written) for n in range(number)])
    times = view.quantiles()["served"]
    assert times["count"] == KEPT
    assert times["p50"] == 1.0 and math.isclose(times["p99"], 50.0), "10 of 512 are more than one in a hundred"
    view.read(write(log, EDITS, *(edit(f"e{n}") for n in range(KEPT + 5))))
    assert len(view._edited) == KEPT


def test_an_edit_may_be_read_before_its_window_and_old_windows_are_forgotten(clock: Clock, log: MemoryLog) -> None:
    view = Freshness(clock, new_metrics())
    gated = write(log, GATED, {}, {})
    clock.now += 7
    view.read(write(log, EDITS, edit("a", 1)))
    assert view.quantiles() == {}
    view.read(gated)
    assert view.quantiles()["decided"]["p50"] == 7.0
    view.read([Record(GATED, 0, n, "k", {}, 1.0, clock.now) for n in range(2, REMEMBERED + 10)])
    view.read(write(log, EDITS, edit("b", 1)))
    assert view.quantiles()["decided"]["count"] == 1
    assert (len(view._gated), len(view._awaited)) == (REMEMBERED, 1)


def test_a_server_measures_the_revisions_that_it_puts_in_force_after_its_start(world: World, server: Server) -> None:
    def served() -> object:
        return server.ask("GET", "/status")[1]["freshness"].get("served", {}).get("count")

    assert served() is None, "the revision of before the start is no measure of this server"
    world.announce(region(A, 9, "r0004_v0009"))
    eventually(lambda: server.ask("GET", "/status")[1]["refused_adapters"] != {})
    world.update(A, seed=9)
    eventually(lambda: served() == 1)
    assert 'raie_freshness_seconds_count{step="served"} 1.0' in server.ask("GET", "/metrics")[1]
