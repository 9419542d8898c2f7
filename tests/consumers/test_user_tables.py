"""Kept tables of users: equal to the histories in memory, whatever happens to the process, its files and the log."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumers.gate.user_store import UserStore
from consumers.runtime.log_binding import KEY, identity_of
from consumers.runtime.user_table import TableError, UserTable
from consumers.runtime.user_tables import KEPT, REWRITTEN, UserTables
from pipeline.events.erasure import Erasure, erasure_key
from pipeline.events.interaction import Interaction
from pipeline.events.loaded_history import LoadedHistory
from pipeline.streams import MemoryLog, SqliteLog
from pipeline.streams.topics import CONTROL, USERS, pipeline_topics

SIZES = (3, 4, 5, ())
"""Items of a window, event ids and earlier items of each user."""

USER_IDS = [f"user-{n}" for n in range(6)]


def skip(record: object, error: Exception) -> None:
    raise AssertionError(f"{record} is refused: {error}")


class Clock:
    """Seconds since 1970, set by a test."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """The users of a partition with their log, without scoring: a turn changes them and commits, or dies.

    Args:
        log: the log.
        tables: kept tables; None for histories in memory alone.
    """

    def __init__(self, log: MemoryLog | SqliteLog, tables: UserTables | None, committed: int = 0) -> None:
        self.log, self.committed, self.changed = log, committed, set[str]()
        self.users = UserStore(*SIZES, tables.open(log, 0, log.end_offset(USERS, 0)) if tables else UserTable(), 2)
        end = log.end_offset(USERS, 0)
        self.read = end - self.users.table.position
        records = log.read(USERS, 0, self.users.table.position, end)
        self.users.restore(records, committed, skip, end, tables.clock() if tables else None)

    def checkpoint(self, as_of: float) -> bool:
        start, end = self.users.table.position, self.log.end_offset(USERS, 0)
        return self.users.checkpoint(self.log.read(USERS, 0, start, end), self.committed, skip, end, as_of)

    def append(self, user_id: str, item_id: str, at: float) -> None:
        event = Interaction(f"e{at}", user_id, item_id, at)
        if self.users.erasure_before(event) is None:
            state = self.users.append(user_id, item_id, event.event_id, at, int(at), past=False)
            state.ahead += (int(at),)
            self.changed.add(user_id)

    def load(self, user_id: str, at: float) -> None:
        if self.users.load(LoadedHistory(user_id, ["x", "y"], ["z"], ["l1", "l2"], at)) is not None:
            self.changed.add(user_id)

    def erase(self, user_id: str, at: float) -> None:
        self.users.erase(Erasure(user_id, at))
        self.changed.discard(user_id)

    def commit(self, position: int) -> None:
        """Write what a turn has changed, in the order of the gate."""
        with self.log.producer("gate").transaction() as transaction:
            for erased in self.users.take_erased():
                user_id, at = erased.erasure.user_id, erased.erasure.timestamp
                transaction.send(USERS, None, key=user_id, partition=0, timestamp=at)
                kept = erased.kept.to_record(position)
                transaction.send(USERS, kept, key=erasure_key(user_id), partition=0, timestamp=at)
            for user_id, state in self.users.take_forgotten().items():
                transaction.send(USERS, None, key=user_id, partition=0, timestamp=state.timestamp)
            for user_id in sorted(self.changed):
                state = self.users.get(user_id)
                assert state is not None
                state.ahead = state.ahead_of(position)
                value = state.to_record(position)
                transaction.send(USERS, value, key=user_id, partition=0, timestamp=state.timestamp)
        self.changed, self.committed = set(), position

    def contents(self) -> dict[str, Any]:
        """Everything that a gate asks of its users."""
        states = {user_id: self.users.get(user_id) for user_id in USER_IDS}
        erased = {user_id: self.users.erasure_before(Interaction("e", user_id, "i", 0.0)) for user_id in USER_IDS}
        return {
            "states": {user_id: state and state.to_record(self.committed) for user_id, state in states.items()},
            "erased": {user_id: kept and kept.to_record(self.committed) for user_id, kept in erased.items()},
            "users": len(self.users),
            "sequence": self.users.sequence,
        }


def begun(log: MemoryLog | SqliteLog, identity: str = "log") -> None:
    log.create_topics(pipeline_topics(1))
    with log.producer("binding").transaction() as transaction:
        transaction.send(CONTROL, {"kind": KEY, "id": identity, "partitioner": "p"}, key=KEY, timestamp=0.0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        begun(log)
        yield log


@pytest.mark.parametrize("seed", range(8))
def test_it_equals_the_histories_in_memory_after_any_turns_checkpoints_deaths_and_compactions(
    tmp_path: Path, log: SqliteLog, seed: int
) -> None:
    rng, clock = Random(seed), Clock()
    tables = UserTables(tmp_path / "users" / "gate", clock=clock)
    gate = Gate(log, tables)
    for turn in range(60):
        for at in range(turn * 10, turn * 10 + rng.randrange(6)):
            user_id = rng.choice(USER_IDS)
            act = rng.choices([gate.append, gate.load, gate.erase], [8, 1, 1])[0]
            arguments = (user_id, rng.choice("abcdefgh"), float(at)) if act == gate.append else (user_id, float(at))
            act(*arguments)
        if rng.random() < 0.8:
            gate.commit((turn + 1) * 10 - rng.randrange(8))
            assert gate.contents() == Gate(log, None, gate.committed).contents()
            if rng.random() < 0.2:
                log.compact(USERS)
            if rng.random() < 0.4:
                assert gate.checkpoint(clock())
                assert len(gate.users._states) <= 2
                assert gate.contents() == Gate(log, None, gate.committed).contents()
                gate.users.forget(turn * 10.0 - 40.0, gate.committed, 2)
        if rng.random() < 0.3:
            # It dies: what was not committed is lost, and so is what was not written to the table.
            gate.users.table.close()
            gate = Gate(log, tables, gate.committed)
            assert gate.contents() == Gate(log, None, gate.committed).contents()


def filled(log: SqliteLog, tables: UserTables, users: int = 40) -> Gate:
    gate = Gate(log, tables)
    for number in range(users):
        gate.append(f"user-{number}", "item", float(number))
    gate.commit(users)
    assert gate.checkpoint(tables.clock())
    return gate


@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_killed_between_commit_and_checkpoint_it_reads_what_the_file_lacks(
    tmp_path: Path, log: SqliteLog, moment: str
) -> None:
    tables = UserTables(tmp_path / "users" / "gate")
    gate = filled(log, tables)
    child = os.fork()
    if not child:
        try:
            with closing(SqliteLog(tmp_path / "log.sqlite")) as own:
                dying = Gate(own, tables, gate.committed)
                dying.append("user-1", "more", 100.0)
                dying.erase("user-2", 101.0)
                dying.commit(102)
                if moment == "within":
                    dying.users.table._written = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore
                if moment != "before":
                    dying.checkpoint(tables.clock())
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    restarted = Gate(log, tables, 102)
    assert restarted.read == (0 if moment == "after" else 3)
    assert restarted.contents() == Gate(log, None, 102).contents()
    state = restarted.users.get("user-1")
    assert state is not None and state.history.items == ("item", "more")
    assert restarted.users.get("user-2") is None


def test_what_is_not_committed_waits_for_a_later_checkpoint(tmp_path: Path, log: SqliteLog) -> None:
    tables = UserTables(tmp_path / "users" / "gate")
    gate = filled(log, tables)
    end = log.end_offset(USERS, 0)
    # As a transaction whose positions are not visible yet.
    other = Gate(log, None, gate.committed)
    other.append("user-1", "other", 50.0)
    other.commit(90)
    for committed, history, position in ((40, ("item",), end), (90, ("item", "other"), end + 1)):
        gate.committed = committed
        assert gate.checkpoint(tables.clock())
        gate.users._states.clear()
        assert (gate.users.history("user-1").items, gate.users.table.applied.position) == (history, position)


def overwrite(start: int, raw: bytes) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(start)
            file.write(raw)

    return act


def flip_a_value(path: Path) -> None:
    raw = path.read_bytes()
    at = raw.index(b'"user-') if b'"user-' in raw else raw.index(b'"history":["item"]')
    overwrite(at + 13, b"J")(path)


def raise_the_format(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "no database": overwrite(0, b"no database at all"),
    "zeros": overwrite(4096, bytes(3 * 4096)),
    "empty": lambda path: path.write_bytes(b"") and None,
    "truncated": lambda path: os.truncate(path, 5000),
    "a letter": flip_a_value,
    "another version": raise_the_format,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_thrown_away_and_built_again(tmp_path: Path, log: SqliteLog, damage: str) -> None:
    said: list[str] = []
    tables = UserTables(tmp_path / "users" / "gate", said.append)
    gate = filled(log, tables)
    gate.users.table.close()
    (path,) = (tmp_path / "users" / "gate").glob("*.users")
    DAMAGES[damage](path)
    for _ in range(2):
        # As the loop does: it starts over with an error that tells it to.
        try:
            again = Gate(log, tables, gate.committed)
            contents = [again.users.get(f"user-{number}") for number in range(40)]
        except TableError as error:
            said.append(str(error))
        else:
            break
    assert None not in contents
    assert again.read == 40 and len(again.users) == 40
    assert damage == "empty" or "thrown away" in said[0]


def test_a_file_of_another_log_or_ahead_of_it_or_too_old_is_thrown_away(tmp_path: Path, log: SqliteLog) -> None:
    said: list[str] = []
    clock, folder = Clock(), tmp_path / "users" / "gate"
    tables = UserTables(folder, said.append, clock)
    filled(log, tables).users.table.close()

    def read(again: MemoryLog | SqliteLog) -> int:
        gate = Gate(again, tables, 100)
        gate.users.table.close()
        return gate.read

    assert (read(log), said) == (0, [])
    clock.now += KEPT + 1.0
    assert read(log) == 40 and "tombstones" in said[-1]
    clock.now -= 60.0
    assert read(log) == 40 and "tombstones" in said[-1], "a clock that was set back tells nothing"
    restored = MemoryLog()
    begun(restored)
    filled(restored, UserTables(tmp_path / "elsewhere" / "gate"), 30)
    assert read(restored) == 30 and "ahead of the log" in said[-1]
    other = MemoryLog()
    begun(other, "other")
    filled(other, UserTables(tmp_path / "third" / "gate"), 50)
    assert read(other) == 50 and "another log" in said[-1]
    diverged = MemoryLog()
    begun(diverged, "other")
    filled(diverged, UserTables(tmp_path / "fourth" / "gate"), 60)
    assert read(diverged) == 60 and "another record at offset 49" in said[-1]
    assert identity_of(other) == "other"


def test_no_byte_of_an_erased_user_is_left(tmp_path: Path, log: SqliteLog) -> None:
    clock, folder = Clock(), tmp_path / "users" / "gate"
    tables = UserTables(folder, clock=clock)
    gate = filled(log, tables)
    for at in range(50, 90):
        gate.append("user-secret", f"secret-{at}", float(at))
        gate.commit(at)
        gate.checkpoint(clock())

    def is_left() -> bool:
        return any(b"secret" in path.read_bytes() for path in folder.iterdir())

    assert is_left()
    gate.erase("user-secret", 90.0)
    gate.commit(91)
    gate.checkpoint(clock())
    tables.rewrite([gate.users.table])
    clock.now += REWRITTEN
    tables.rewrite([gate.users.table])
    assert not is_left()
    assert gate.contents() == Gate(log, None, 91).contents()


def test_two_processes_of_one_name_do_not_mix_their_changes(tmp_path: Path, log: SqliteLog) -> None:
    tables = UserTables(tmp_path / "users" / "gate")
    gate = filled(log, tables)
    newer = Gate(log, tables, gate.committed)
    newer.append("user-1", "more", 50.0)
    newer.commit(51)
    newer.checkpoint(tables.clock())
    gate.committed = 51
    with pytest.raises(TableError, match="same --instance"):
        gate.checkpoint(tables.clock())
    assert Gate(log, tables, 51).contents() == Gate(log, None, 51).contents()


def test_files_that_nobody_can_use_any_more_are_removed(tmp_path: Path) -> None:
    clock = Clock()
    tables = UserTables(tmp_path / "users" / "gate-0", clock=clock, interval=10.0)
    gone = tmp_path / "users" / "gate-1" / "00003.users"
    gone.parent.mkdir()
    for path in (gone, gone.with_name("00003.users-wal"), gone.with_name("notes")):
        path.write_text("")
        os.utime(path, (clock.now - 3 * KEPT,) * 2)
    assert not tables.is_due()
    clock.now += 11.0
    assert tables.is_due() and not tables.is_due()
    assert [path.name for path in gone.parent.iterdir()] == ["notes"]


def test_a_folder_that_cannot_be_written_means_that_nothing_is_kept(tmp_path: Path, log: SqliteLog) -> None:
    said: list[str] = []
    (tmp_path / "users").write_text("a file")
    with closing(UserTables(tmp_path / "users" / "gate", said.append)) as tables:
        assert len(filled(log, tables).users) == 40
    assert "not kept" in said[0]
