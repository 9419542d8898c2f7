"""Erasure of a user: nothing of the user is left in any state, whatever arrives late, is fed again or dies."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from consumers.monitor.changelog import read_newest
from consumers.monitor.stage import MonitorStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.log_binding import record_rule
from consumers.runtime.loop import Loop
from consumers.runtime.stage import KillPoint, Output, Point, Turn, live_on
from consumers.server.views.users import Users
from pipeline.events.erasure import Erasure, erasure_key
from pipeline.events.loaded_history import LoadedHistory
from pipeline.streams import Log, SqliteLog
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import GATED, INTERACTIONS, MONITOR, USERS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.consumers.gating import (
    BATCH,
    OpenLog,
    changed,
    count,
    gate_loop,
    gated,
    letters,
    named,
    read,
    users,
    users_by_pseudonym,
    write,
)
from tests.consumers.run_of_raie import empty_store, the_setup
from tests.consumers.test_gate_faults import Settling
from tests.consumers.test_loop import Killed, Killer

PARTITIONS = 3
NOW = 1_700_000_000.0
ERASED_AT = NOW + 50.0
"""Event time of the erasure: events 0 to 50 are of before."""


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def event(number: int, user: str = "ann") -> dict[str, Any]:
    item = the_setup().catalogue.item_ids[number % 40]
    return {"event_id": f"{user}-{number}", "user_id": user, "item_id": item, "timestamp": NOW + number}


ERASURE = Erasure("ann", ERASED_AT).to_record()
HISTORY = [*map(event, range(40)), *(event(number, "bob") for number in range(40))]


def begin(log: Log, values: Sequence[Mapping[str, Any]]) -> None:
    log.create_topics(pipeline_topics(PARTITIONS))
    with log.producer("test").transaction() as transaction:
        record_rule(transaction)
    write(log, values)


def elsewhere(user: str) -> int:
    return (partition_of(user, PARTITIONS) + 1) % PARTITIONS


def run_gate(open_log: OpenLog, folder: Path, **more: Any) -> Metrics:
    metrics = Metrics(CollectorRegistry())
    gate_loop(open_log, folder, changed(**more), metrics=metrics).run()
    return metrics


def taken_by(log: Log, user: str) -> list[str]:
    return [g["event_id"] for g in named(log) if g["user_id"] == user]


def states_of(log: Log) -> set[str]:
    """Users with a state on any partition."""
    return {user for user, state in users(log).items() if state is not None and state["history"]}


class UntilRead(MonitorStage):
    """Ends its loop at the second turn in a row in which nothing happens."""

    stop: Event
    quiet = 0

    def handle(self, turn: Turn) -> Sequence[Output]:
        outputs = super().handle(turn)
        self.quiet = 0 if turn.records or outputs else self.quiet + 1
        if self.quiet == 2:
            self.stop.set()
        return outputs


def run_monitor(open_log: OpenLog, at: KillPoint = live_on) -> MonitorStage:
    """Run a monitor until nothing more comes; return one that is restored after it."""
    metrics, stage = (
        Metrics(CollectorRegistry()),
        UntilRead(the_setup(), changed(), empty_store(), 0, Metrics(CollectorRegistry())),
    )
    stage.stop = Event()
    health = LoopHealth(metrics, lambda: 0.0, lambda _: None)
    Loop(stage, open_log, "m", changed().consumers, 16, stage.stop, health, at).run()
    restored = MonitorStage(the_setup(), changed(), empty_store(), 0, Metrics(CollectorRegistry()))
    restored.restore({(GATED, 0): open_log().committed("monitor", GATED, 0)}, open_log())
    return restored


@pytest.mark.parametrize("key", [None, "ann", "somebody else"])
def test_an_erasure_with_any_key_on_any_partition_leaves_no_state(
    open_log: OpenLog, tmp_path: Path, key: str | None
) -> None:
    log = open_log()
    begin(log, HISTORY)
    for partition in range(PARTITIONS):
        write(log, [event(40 + partition)], partition)
    run_gate(open_log, tmp_path)
    assert states_of(log) == {"ann", "bob"} and len(taken_by(log, "ann")) == 43
    with log.producer("other").transaction() as transaction:
        transaction.send(INTERACTIONS, ERASURE, key=key, partition=elsewhere("ann"), timestamp=ERASED_AT)
    run_gate(open_log, tmp_path)
    assert states_of(log) == {"bob"} and letters(log) == []
    assert users(log)["ann"] is None and users(log)[erasure_key("ann")] is not None


def test_what_the_user_did_before_never_comes_back_and_a_later_event_starts_a_new_user(
    open_log: OpenLog, tmp_path: Path
) -> None:
    log = open_log()
    begin(log, [*HISTORY, ERASURE])
    run_gate(open_log, tmp_path)
    before = taken_by(log, "ann")
    # Late, on another partition, at the very moment, the whole log again, and with its history.
    write(log, [event(45), event(50)], elsewhere("ann"))
    write(log, [*HISTORY, ERASURE])
    loaded = LoadedHistory("ann", ["a", "b"], (), ("x", "y"), NOW + 99.0)
    write(log, [loaded.to_record()])
    metrics = run_gate(open_log, tmp_path)
    assert states_of(log) == {"bob"} and taken_by(log, "ann") == before
    assert count(metrics, "erased_events_total") == 2 + 40 + 1
    write(log, [event(51), event(52)])
    run_gate(open_log, tmp_path)
    new = [g for g in named(log) if g["user_id"] == "ann"][len(before) :]
    assert [(g["event_id"], g["cold"], len(g["window"])) for g in new] == [("ann-51", True, 0), ("ann-52", False, 1)]
    # The log with the erasure once more: what the new user did stays.
    write(log, [*HISTORY, ERASURE])
    run_gate(open_log, tmp_path)
    state = users(log)["ann"]
    assert state is not None and len(state["history"]) == 2


def test_events_that_wait_for_their_time_are_erased_too(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, [*HISTORY, event(49), event(45), ERASURE, event(53), event(44), event(52)])
    run_gate(open_log, tmp_path, gate={"horizon": 1000.0})
    assert [g["event_id"] for g in gated(log) if g["timestamp"] > NOW + 40] == ["ann-52", "ann-53"]
    state = users(log)["ann"]
    assert state is not None and len(state["history"]) == 2


@pytest.mark.parametrize(("point", "horizon"), [(Point.COMMITTING, 0.0), *((point, 20.0) for point in Point)])
def test_killed_at_any_step_the_erasure_is_whole(
    open_log: OpenLog, tmp_path: Path, point: Point, horizon: float
) -> None:
    log = open_log()
    values = [*HISTORY[::-1], ERASURE, *(event(n, "bob") for n in range(40, 80)), event(7), event(60)]
    begin(log, values)
    for passing in (1, 2, 3, 1):
        config, killer = changed(gate={"horizon": horizon}), Killer(point, passing + 2)
        with suppress(Killed):
            gate_loop(open_log, tmp_path, config, at=killer, most=8).run()
    run_gate(open_log, tmp_path, gate={"horizon": horizon})
    assert len(taken_by(log, "bob")) == len(set(taken_by(log, "bob"))) == 80
    *before, last = taken_by(log, "ann")
    assert last == "ann-60"
    state = users(log)["ann"]
    assert state is not None and len(state["history"]) == 1
    erased = [record.key for record in read(log, GATED) if record.value is None]
    pseudonyms = {g["user_id"] for g in gated(log) if g["event_id"] in before}
    assert erased == list(pseudonyms)


def test_an_event_that_waited_before_the_erasure_stays_erased_after_a_restart(
    open_log: OpenLog, tmp_path: Path
) -> None:
    log, config = open_log(), changed(gate={"horizon": 1000.0})
    users_of = (f"u{n}" for n in range(100))
    neighbour = next(user for user in users_of if partition_of(user, PARTITIONS) == partition_of("ann", PARTITIONS))
    # The first event keeps the position from passing the others; the second is later than the erasure.
    begin(log, [event(0, neighbour), event(90), ERASURE])
    killer = Killer(Point.COMMITTED, 1)
    with pytest.raises(Killed):
        gate_loop(open_log, tmp_path, config, at=killer).run()
    assert users(log)["ann"] is None and gated(log) == []
    run_gate(open_log, tmp_path, gate={"horizon": 1000.0})
    assert [g["event_id"] for g in gated(log)] == [f"{neighbour}-0"]


@pytest.mark.parametrize("last", [True, False])
def test_in_lockstep_the_numbers_of_erased_events_are_handled_after_a_restart_too(
    open_log: OpenLog, tmp_path: Path, last: bool
) -> None:
    log, config = open_log(), changed(consumers={"lockstep": True})
    users_of = ["ann" if n < 20 or (last and n == BATCH - 1) else "bob" for n in range(2 * BATCH)]
    values = [{**event(n, user), "sequence": n} for n, user in enumerate(users_of)]
    late = Erasure("ann", NOW + 2 * BATCH).to_record()
    begin(log, [*values[:30], late, *values[30:BATCH]])
    gate_loop(open_log, tmp_path, config, kind=Settling).run()
    write(log, values[BATCH:])
    gate_loop(open_log, tmp_path, config, kind=Settling).run()
    assert taken_by(log, "bob") == [v["event_id"] for v in values if v["user_id"] == "bob"]
    assert states_of(log) == {"bob"}


def test_monitor_and_its_next_snapshot_forget_the_user(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, HISTORY)
    run_gate(open_log, tmp_path)
    names = {user: name for name, user in users_by_pseudonym(log).items()}
    assert set(run_monitor(open_log)._driver.monitor.state.users) == {names["ann"], names["bob"]}
    write(log, [ERASURE])
    run_gate(open_log, tmp_path)
    with pytest.raises(Killed):
        run_monitor(open_log, Killer(Point.COMMITTING, 1))
    run_monitor(open_log)
    state = read_newest(log).state
    assert state is not None
    # An edit that was decided before names its windows until it has an outcome.
    kept = json.dumps({**state["monitor"], "asked": []})
    assert "ann" not in kept and names["ann"] not in kept
    log.compact(MONITOR)
    restored = run_monitor(open_log)._driver.monitor.state
    assert set(restored.users) == {names["bob"]}
    windows = [o for region in restored.regions.values() for o in region.observations]
    assert {o.user for o in windows} == {names["bob"]}
    assert {e.event_id[:3] for region in restored.regions.values() for e in region.sample} <= {"bob"}
    assert {e.event_id[:3] for e in restored.new_items.recent} == {"bob"}


def test_a_snapshot_is_never_shorter_than_the_one_before(open_log: OpenLog, tmp_path: Path) -> None:
    log, crowd = open_log(), [event(n, f"user {n // 2}") for n in range(60)]
    begin(log, [*HISTORY, *crowd, ERASURE])
    run_gate(open_log, tmp_path)
    run_monitor(open_log)
    first = read_newest(log).chunks
    assert first >= 1
    stage = run_monitor(open_log)
    stage._chunks = first + 3
    outputs = stage._snapshot(read_newest(log).at)
    assert [out.key for out in outputs][-2:] == [f"chunk-{first + 2:05d}", "snapshot"]
    with log.producer("monitor").transaction() as transaction:
        for out in outputs:
            transaction.send(out.topic, out.value, key=out.key, timestamp=1.0)
    assert read_newest(log).chunks == first + 3
    assert json.dumps(read_newest(log).state) == json.dumps(stage._driver.state())


def test_the_server_forgets_the_user(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, [*HISTORY, ERASURE])
    run_gate(open_log, tmp_path)
    view = Users(changed().windows.length, the_setup().catalogue.item_ids, PARTITIONS)
    for partition in range(PARTITIONS):
        for record in read(log, USERS, partition):
            view.apply(record)
            if record.key == erasure_key("ann"):
                # As on a partition on which it would pass for a user.
                view.apply(replace(record, partition=partition_of(record.key, PARTITIONS)))
    assert len(view) == 1 and view.taken("ann") == () and view.taken("bob")
