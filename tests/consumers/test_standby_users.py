"""With `users.standby` a gate keeps the users of other gates' partitions: a takeover reads what is new alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.runtime.loop import Loop
from consumers.runtime.stage import Turn
from pipeline.streams import Record, SqliteLog, UnavailableError
from pipeline.streams.topics import INTERACTIONS, USERS
from tests.consumers.gating import PARTITIONS, OpenLog, changed, fill, gate_loop, said, write
from tests.consumers.gating import events as events_of

CONFIG = changed(users={"standby": True, "cached": 3})
EVENTS = [said(event) for event in events_of()[1][:120]]


class Counting(SqliteLog):
    """Counts the records of `users` that are read."""

    read_of_users = 0

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        records = list(super().read(topic, partition, start, end))
        self.read_of_users += len(records) * (topic == USERS)
        return iter(records)


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def positions(loop: Loop, log: SqliteLog) -> list[int]:
    """Next offset of `users` in each of a gate's tables."""
    tables: Any = loop._stage._checkpoints._tables  # type: ignore[attr-defined]
    found = []
    for partition in range(PARTITIONS):
        table = tables.open(log, partition, log.end_offset(USERS, partition))
        found.append(table.position)
        table.close()
    return found


def taken_over(loop: Loop, log: SqliteLog) -> dict[str, object]:
    """Histories of a gate that is given all partitions, by user."""
    stage: Any = loop._stage
    came = {(INTERACTIONS, p): log.committed("gate", INTERACTIONS, p) for p in range(PARTITIONS)}
    stage.restore(came, log)
    users = sorted({str(event["user_id"]) for event in EVENTS})
    return {user: [some.history(user).items for some in stage._users.values()] for user in users}


def test_a_takeover_reads_what_is_new(open_log: OpenLog, tmp_path: Path) -> None:
    fill(open_log(), EVENTS[:60])
    gate_loop(open_log, tmp_path, CONFIG, "a").run()
    log = Counting(tmp_path / "log.sqlite", lease=1.0)
    other: Any = gate_loop(open_log, tmp_path, CONFIG, "b")
    other._stage.prepare(log)
    ends = [log.end_offset(USERS, p) for p in range(PARTITIONS)]
    assert positions(other, log) == ends and min(ends) > 0
    write(log, EVENTS[60:])
    gate_loop(open_log, tmp_path, CONFIG, "a").run()
    ends = [log.end_offset(USERS, p) for p in range(PARTITIONS)]
    new = sum(ends) - sum(positions(other, log))
    log.read_of_users = 0
    found = taken_over(other, log)
    # One more of each partition is looked at: whether the table is of this log.
    assert 0 < new <= log.read_of_users <= new + PARTITIONS
    assert found == taken_over(gate_loop(open_log, tmp_path / "new", CONFIG, "c"), log)


def test_each_checkpoint_reads_what_others_wrote(open_log: OpenLog, tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    fill(log, [])
    other: Any = gate_loop(open_log, tmp_path, CONFIG, "b")
    turn = Turn([], log.consumer("gate", [INTERACTIONS], "b"), log)
    for part in (EVENTS[:60], EVENTS[60:]):
        write(log, part)
        gate_loop(open_log, tmp_path, CONFIG, "a").run()
        other._stage._checkpoints.make(turn, {}, {})
        assert positions(other, log) == [log.end_offset(USERS, p) for p in range(PARTITIONS)]


class Undecided(SqliteLog):
    """A log in which a gate was killed in a transaction that wrote users."""

    def acknowledged_end(self, topic: str, partition: int) -> int:
        if topic == USERS:
            raise UnavailableError("a transaction is open")
        return super().acknowledged_end(topic, partition)


def test_an_open_transaction_of_another_gate_holds_up_nobody(open_log: OpenLog, tmp_path: Path) -> None:
    fill(open_log(), EVENTS[:60])
    gate_loop(open_log, tmp_path, CONFIG, "a").run()
    log = Undecided(tmp_path / "log.sqlite", lease=1.0)
    other: Any = gate_loop(open_log, tmp_path, CONFIG, "b")
    other._stage.prepare(log)
    write(log, EVENTS[60:])
    gate_loop(open_log, tmp_path, CONFIG, "a").run()
    other._stage._checkpoints.make(Turn([], log.consumer("gate", [INTERACTIONS], "b"), log), {}, {})
    assert positions(other, log) == [log.end_offset(USERS, p) for p in range(PARTITIONS)]


def test_a_table_that_cannot_be_opened_takes_no_partition_from_its_gate(open_log: OpenLog, tmp_path: Path) -> None:
    fill(open_log(), EVENTS[:60])
    gate_loop(open_log, tmp_path, CONFIG, "a").run()
    log = SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    other: Any = gate_loop(open_log, tmp_path, CONFIG, "b")
    folder = tmp_path / "users" / "b" / "00000.users"
    folder.mkdir()
    other._stage._checkpoints.make(Turn([], log.consumer("gate", [INTERACTIONS], "b"), log), {}, {})
    folder.rmdir()
    assert positions(other, log) == [0, log.end_offset(USERS, 1)]


def test_without_it_no_file_of_other_partitions_is_kept(open_log: OpenLog, tmp_path: Path) -> None:
    fill(open_log(), EVENTS[:60])
    config = changed()
    gate_loop(open_log, tmp_path, config, "a").run()
    other: Any = gate_loop(open_log, tmp_path, config, "b")
    log = SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    other._stage.prepare(log)
    other._stage._checkpoints.make(Turn([], log.consumer("gate", [INTERACTIONS], "b"), log), {}, {})
    assert positions(other, log) == [0] * PARTITIONS
