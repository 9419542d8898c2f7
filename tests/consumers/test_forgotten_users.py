"""Users who were not seen for longer than `users.time_to_live` are forgotten, by a tombstone in `users`."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.streams import SqliteLog
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import GATED, USERS
from tests.consumers.gating import OpenLog, count, gated, named, read, users, write
from tests.consumers.test_erasure import PARTITIONS, begin, event, run_gate

LONG = 1000.0
"""Seconds after which a test forgets."""


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def later(numbers: range, user: str) -> list[dict[str, Any]]:
    """Events a while after those of the beginning."""
    return [event(number, user) | {"timestamp": event(number)["timestamp"] + LONG} for number in numbers]


ANN = "ann"
BOB = next(u for u in map("bob{}".format, range(50)) if partition_of(u, PARTITIONS) == partition_of(ANN, PARTITIONS))
"""Another user of the partition: event time is a partition's own."""


def test_who_was_not_seen_for_long_is_forgotten_and_comes_back_as_a_new_user(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, [*(event(n) for n in range(5)), *(event(n, BOB) for n in range(5))])
    run_gate(open_log, tmp_path, users={"time_to_live": LONG, "cached": 3})
    assert {ANN, BOB} <= {user for user, value in users(log).items() if value}
    write(log, later(range(20, 30), BOB))
    metrics = run_gate(open_log, tmp_path, users={"time_to_live": LONG, "cached": 3})
    assert count(metrics, "forgotten_users_total") == 1
    assert users(log)[ANN] is None and users(log)[BOB]
    assert sum(record.value is None for record in read(log, GATED)) == 0, "its windows stay, for training"
    before = {g["user_id"] for g in gated(log)}
    write(log, later(range(40, 42), ANN))
    run_gate(open_log, tmp_path, users={"time_to_live": LONG, "cached": 3})
    first, second = [g for g in named(log) if g["user_id"] == ANN][-2:]
    assert (first["window"], second["window"]) == ([], [first["target"]])
    assert len({g["user_id"] for g in gated(log)} - before) == 1, "under a new pseudonym"


def test_a_clock_that_is_years_ahead_forgets_nobody(open_log: OpenLog, tmp_path: Path) -> None:
    log, far = open_log(), 4e9
    recent = [event(n, ANN) | {"timestamp": 1.79e9 + n} for n in range(5)]
    begin(log, [*recent, *(event(n, BOB) | {"timestamp": far + n} for n in range(5))])
    metrics = run_gate(open_log, tmp_path, users={"time_to_live": 3e9, "cached": 3})
    assert count(metrics, "forgotten_users_total") == 0
    assert users(log)[ANN]


def test_without_a_time_to_live_nobody_is_forgotten(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, [*(event(n) for n in range(5)), *later(range(10**6, 10**6 + 5), BOB)])
    assert count(run_gate(open_log, tmp_path), "forgotten_users_total") == 0
    assert all(record.value for partition in range(3) for record in read(log, USERS, partition))
    assert users(log)[ANN]
