"""Time of an erasure: without one of its own the event time of the stream, and what is later starts a new user."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumers.gate.event_time_reached import LOOKED_BACK, EventTimeReached
from pipeline.errors import BadEvent
from pipeline.events.erasure import Erasure, erasure_key
from pipeline.events.loaded_history import LoadedHistory
from pipeline.streams import Log, MemoryLog, Record, SqliteLog
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import INTERACTIONS, pipeline_topics
from tests.consumers.gating import OpenLog, read, users, write
from tests.consumers.test_erasure import HISTORY, NOW, PARTITIONS, begin, event, run_gate, states_of, taken_by

LATER = 2_000_000_000.0
"""Wall clock of the record: years after the stream."""

UNDATED: dict[str, Any] = {"erase": True, "user_id": "ann"}


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def erase(log: Log, value: dict[str, Any] = UNDATED, partition: int | None = None) -> None:
    with log.producer("person").transaction() as transaction:
        transaction.send(INTERACTIONS, value, key="ann", partition=partition, timestamp=LATER)


def erased_until(log: Log) -> float:
    state = users(log)[erasure_key("ann")]
    assert state is not None
    return float(state["latest"]["timestamp"])


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_an_erasure_without_a_time_is_of_the_event_time_of_the_stream(
    open_log: OpenLog, tmp_path: Path, partition: int
) -> None:
    log = open_log()
    begin(log, HISTORY)
    run_gate(open_log, tmp_path)
    before = taken_by(log, "ann")
    erase(log, partition=partition)
    run_gate(open_log, tmp_path)
    assert states_of(log) == {"bob"} and erased_until(log) == NOW + 39
    write(log, [event(41)])
    run_gate(open_log, tmp_path)
    assert taken_by(log, "ann") == [*before, "ann-41"]
    write(log, [*HISTORY, event(42)])
    run_gate(open_log, tmp_path)
    assert taken_by(log, "ann") == [*before, "ann-41", "ann-42"], "the log that was fed again brought nothing back"


def test_a_time_that_is_given_counts_as_it_is(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, HISTORY)
    erase(log, {**UNDATED, "timestamp": NOW + 100})
    run_gate(open_log, tmp_path)
    assert erased_until(log) == NOW + 100


def reached(log: Log, offset: int, seen: EventTimeReached | None = None) -> float:
    record = Record(INTERACTIONS, 0, offset, "ann", UNDATED, LATER)
    return (seen or EventTimeReached({})).dated(Erasure("ann", LATER, is_dated=False), record, log).timestamp


def filled(*events: tuple[str, float]) -> MemoryLog:
    log = MemoryLog()
    log.create_topics(pipeline_topics(1))
    write(log, [{"user_id": user, "item_id": "i", "timestamp": timestamp} for user, timestamp in events], 0)
    return log


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], LATER),
        ([("bob", 5.0)], 5.0),
        ([("bob", float(second)) for second in range(10)], 7.0),
        ([("bob", float(second)) for second in range(10)] + [("bob", 4e9)] * 2, 9.0),
        ([("bob", float(second)) for second in range(10)] + [("ann", 50.0)], 50.0),
        ([("ann", 4e9)], LATER),
        ([("ann", 70.0)] + [("bob", 5.0)] * LOOKED_BACK, 5.0),
    ],
)
def test_the_event_time_is_that_of_several_events_or_of_the_users_own(
    events: list[tuple[str, float]], expected: float
) -> None:
    log = filled(*events)
    assert reached(log, log.end_offset(INTERACTIONS, 0)) == expected


def test_it_is_the_same_after_a_restart_and_whatever_was_asked_before() -> None:
    log = filled(*[(f"u{n % 7}" if n % 13 else "ann", float(n * 37 % 2000)) for n in range(2500)])
    seen = EventTimeReached({})
    for offset in (1, 2, 900, 1001, 1700, 2500):
        assert reached(log, offset, seen) == reached(log, offset)


ITEMS, TAKEN = ["a", "b", "c"], ["x", "y"]
TIMED = LoadedHistory("ann", ITEMS, TAKEN, ["e1", "e2", "e3", "e4"], 30.0, [10.0, 20.0, 30.0], [1.0, 5.0])


@pytest.mark.parametrize(
    ("moment", "items", "taken", "ids"),
    [
        (0.5, ITEMS, TAKEN, ["e1", "e2", "e3", "e4"]),
        (1.0, ITEMS, ["y"], ["e2", "e3", "e4"]),
        (20.0, ["c"], [], ["e4"]),
    ],
)
def test_a_history_is_cut_at_an_erasure(moment: float, items: list[str], taken: list[str], ids: list[str]) -> None:
    later = TIMED.after(moment)
    assert later is not None
    assert (later.items, later.taken, later.event_ids) == (items, taken, ids)
    assert LoadedHistory.from_record(later.to_record()) == later


def test_nothing_is_left_of_an_older_history_or_of_one_without_times() -> None:
    assert TIMED.after(30.0) is None
    assert LoadedHistory("ann", ITEMS, TAKEN, [], 30.0).after(0.0) is None


def test_times_are_one_for_each_item() -> None:
    with pytest.raises(BadEvent, match="times must be one for each of the 3 items, not 1"):
        LoadedHistory.from_record({**TIMED.to_record(), "times": [1.0]})


@pytest.mark.parametrize("order", [lambda values: values, lambda values: values[::-1]])
def test_a_history_later_than_the_erasure_is_loaded_once_the_user_is_new_again(
    open_log: OpenLog, tmp_path: Path, order: Callable[[list[Any]], list[Any]]
) -> None:
    log = open_log()
    begin(log, [*HISTORY, Erasure("ann", NOW + 50).to_record()])
    run_gate(open_log, tmp_path)
    times = [NOW + second for second in (48, 49, 51, 52)]
    loaded = LoadedHistory("ann", ["a", "b", "c", "d"], ["x"], ["ea", "eb", "ec", "ed"], times[-1], times, [NOW])
    write(log, order([event(53), loaded.to_record()]))
    run_gate(open_log, tmp_path)
    state = users(log)["ann"]
    assert state is not None
    assert state["history"] == ["c", "d", event(53)["item_id"]] and "taken" not in state
    write(log, [loaded.to_record(), {"user_id": "ann", "item_id": "d", "timestamp": times[-1], "event_id": "ed"}])
    run_gate(open_log, tmp_path)
    again = users(log)["ann"]
    assert again is not None and again["history"] == state["history"]


def test_where_the_user_is_new_the_partition_is_that_of_the_user(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, HISTORY)
    erase(log)
    run_gate(open_log, tmp_path)
    home = partition_of("ann", PARTITIONS)
    assert [record.key for record in read(log, "users", home) if record.value is None] == ["ann"]
