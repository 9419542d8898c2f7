"""Embedded log, beyond the laws: several processes, crashes, leases, compaction, clear errors."""

import functools
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import LogError
from pipeline.streams import PartitionLostError, Record, SqliteLog, Topic

WRITER = """
import sys
from pipeline.streams import SqliteLog, Topic

path, name, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = SqliteLog(path)
log.create_topics([Topic("one"), Topic("many", 4)])
producer = log.producer(name)
print("ready", flush=True)
for batch in range(batches):
    with producer.transaction() as transaction:
        for number in range(50):
            transaction.send("one", {"writer": name, "n": batch * 50 + number}, timestamp=0.0)
"""

RELAY = """
import sys
from pipeline.streams import SqliteLog

log = SqliteLog(sys.argv[1])
consumer = log.consumer("relay", ["one"], "a")
producer = log.producer("relay")
print("ready", flush=True)
while True:
    records = consumer.poll(20, 0.5)
    if not records:
        break
    with producer.transaction() as transaction:
        for record in records:
            transaction.send("many", record.value, partition=0, timestamp=record.timestamp)
        transaction.commit_offsets(consumer)
print("done", flush=True)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=60)
    return out


def everything(log: SqliteLog, topic: str, partition: int = 0) -> list[Record]:
    return list(log.read(topic, partition, 0, log.end_offset(topic, partition)))


def put(log: SqliteLog, topic: str, *pairs: tuple[str, int | None]) -> None:
    with log.producer("put").transaction() as transaction:
        for key, number in pairs:
            transaction.send(topic, None if number is None else {"n": number}, key=key, timestamp=0.0)


def test_two_processes_open_a_new_file_and_write_at_the_same_time(path: Path) -> None:
    writers = [start(WRITER, str(path), name, "20") for name in "ab"]
    assert [finish(writer) for writer in writers] == ["ready\n", "ready\n"]
    assert [writer.returncode for writer in writers] == [0, 0]
    with closing(SqliteLog(path)) as log:
        records = everything(log, "one")
    assert [record.offset for record in records] == list(range(2000))
    for name in "ab":
        assert [r.value["n"] for r in records if r.value and r.value["writer"] == name] == list(range(1000))


def test_who_opens_a_new_file_while_another_opens_it_waits_for_the_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteLog(path).close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode = DELETE")
    refused = []

    class Meeting(sqlite3.Connection):
        """The other process is in its first transaction when this one turns on the write-ahead log."""

        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            if "journal_mode" not in sql:
                return super().execute(sql, parameters)
            if not refused:
                other.execute("BEGIN IMMEDIATE")
                threading.Timer(0.2, other.execute, ("COMMIT",)).start()
            try:
                return super().execute(sql, parameters)
            except sqlite3.OperationalError as error:
                refused.append(error.sqlite_errorname)
                raise

    monkeypatch.setattr("sqlite3.connect", functools.partial(sqlite3.connect, factory=Meeting))
    with closing(other), closing(SqliteLog(path)) as log:
        assert log.topics() == [] and set(refused) == {"SQLITE_BUSY"}


def test_killed_writers_leave_whole_transactions_only(path: Path) -> None:
    draw = random.Random(7)
    for round_ in range(5):
        writer = start(WRITER, str(path), f"w{round_}", "100000")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.0, 0.1))
        writer.send_signal(signal.SIGKILL)
        finish(writer)
    with closing(SqliteLog(path)) as log:
        records = everything(log, "one")
        assert records
        assert len(records) % 50 == 0
        assert [r.offset for r in records] == list(range(len(records)))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_relay_killed_at_random_moves_each_record_once(sqlite: SqliteLog, path: Path) -> None:
    put(sqlite, "one", *[(str(number), number) for number in range(3000)])
    draw = random.Random(11)
    for _ in range(5):
        relay = start(RELAY, str(path))
        assert relay.stdout is not None
        assert relay.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.0, 0.05))
        relay.send_signal(signal.SIGKILL)
        finish(relay)
    assert finish(start(RELAY, str(path))) == "ready\ndone\n"
    assert [r.value["n"] for r in everything(sqlite, "many") if r.value] == list(range(3000))


def test_a_death_between_the_writes_of_a_commit_leaves_nothing(sqlite: SqliteLog, path: Path) -> None:
    put(sqlite, "one", ("k", 1))
    script = """
import os, signal, sys
import pipeline.streams.sqlite.log as log

log.save_positions = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # after the records, before the offsets
with log.SqliteLog(sys.argv[1]).producer("p").transaction() as transaction:
    transaction.send("one", {"n": 2}, timestamp=0.0)
"""
    process = start(script, str(path))
    finish(process)
    assert process.returncode == -signal.SIGKILL
    assert [r.value for r in everything(sqlite, "one")] == [{"n": 1}]
    put(sqlite, "one", ("k", 3))
    assert [r.value for r in everything(sqlite, "one")] == [{"n": 1}, {"n": 3}]


def test_all_is_there_after_reopening(path: Path) -> None:
    topics = [Topic("one"), Topic("table", 2, "compacted", key="user_id")]
    with closing(SqliteLog(path)) as log:
        log.create_topics(topics)
        put(log, "one", ("k", 1), ("k", 2))
        consumer = log.consumer("g", ["one"], "a")
        consumer.poll(1, 0.0)
        with log.producer("p").transaction() as transaction:
            transaction.commit_offsets(consumer)
    with closing(SqliteLog(path)) as log:
        log.create_topics(topics)
        assert log.topic("table") == topics[1]
        assert [r.value for r in log.consumer("g", ["one"], "a").poll(9, 0.0)] == [{"n": 2}]


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(path: Path, clock: Clock) -> Iterator[SqliteLog]:
    with closing(SqliteLog(path, clock=clock, lease=10.0)) as log:
        log.create_topics([Topic("one"), Topic("many", 4)])
        put(log, "one", *[("k", number) for number in range(10)])
        yield log


def test_a_silent_member_loses_its_partitions_after_its_lease(timed: SqliteLog, clock: Clock) -> None:
    silent, other = timed.consumer("g", ["one"], "a"), timed.consumer("g", ["one"], "b")
    assert len(silent.poll(4, 0.0)) == 4
    clock.now += 9.0
    assert other.poll(1, 0.0) == []
    clock.now += 4.0
    assert len(other.poll(6, 0.0)) == 6
    assert other.assignment == [("one", 0)]
    with pytest.raises(PartitionLostError), timed.producer("p").transaction() as transaction:
        transaction.commit_offsets(silent)
    assert silent.poll(1, 0.0) == []
    assert silent.assignment == []


def test_a_member_back_from_a_long_silence_starts_at_the_committed_offset(timed: SqliteLog, clock: Clock) -> None:
    silent, other = timed.consumer("g", ["one"], "a"), timed.consumer("g", ["one"], "b")
    silent.poll(2, 0.0)
    silent.pause([("one", 0)])
    clock.now += 11.0
    other.poll(5, 0.0)
    with timed.producer("p").transaction() as transaction:
        transaction.commit_offsets(other)
    other.close()
    assert [r.offset for r in silent.poll(2, 0.0)] == [5, 6]


def test_members_back_from_a_silence_share_again_while_time_goes_on(path: Path) -> None:
    ticks, now = itertools.count(), 0.0
    with closing(SqliteLog(path, clock=lambda: now + 1e-6 * next(ticks), lease=10.0)) as log:
        log.create_topics([Topic("many", 4)])
        members = [log.consumer("g", ["many"], name) for name in "ab"]
        for _ in range(3):
            for _ in range(8):
                for member in members:
                    member.poll(1, 0.0)
            assert [len(member.assignment) for member in members] == [2, 2]
            # Each finds the other gone.
            now += 11.0


def test_polling_keeps_a_member_in_however_long_it_takes(timed: SqliteLog, clock: Clock) -> None:
    worker, other = timed.consumer("g", ["one"], "a"), timed.consumer("g", ["one"], "b")
    worker.poll(1, 0.0)
    worker.pause(worker.assignment)
    for _ in range(20):
        clock.now += 5.0
        assert worker.poll(1, 0.0) == other.poll(1, 0.0) == []
    with timed.producer("p").transaction() as transaction:
        transaction.commit_offsets(worker)
    assert other.committed("one", 0) == 1


def test_members_of_before_a_reboot_are_out(timed: SqliteLog, clock: Clock) -> None:
    timed.consumer("g", ["one"], "a").poll(1, 0.0)
    clock.now = 5.0
    assert len(timed.consumer("g", ["one"], "b").poll(10, 0.0)) == 10


def test_members_share_over_processes(sqlite: SqliteLog, path: Path) -> None:
    here = sqlite.consumer("g", ["many"], "a")
    here.poll(1, 0.0)
    with closing(SqliteLog(path)) as elsewhere:
        there = elsewhere.consumer("g", ["many"], "b")
        for _ in range(3):
            here.poll(1, 0.0)
            there.poll(1, 0.0)
        assert len(here.assignment) == len(there.assignment) == 2
        there.close()
    here.poll(1, 0.0)
    assert len(here.assignment) == 4


def test_compaction_keeps_the_newest_of_each_key_and_tombstones(sqlite: SqliteLog) -> None:
    put(sqlite, "table", ("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", None), ("c", 5))
    before = [r for n in range(2) for r in everything(sqlite, "table", n)]
    assert sqlite.compact("table") == 3
    after = [r for n in range(2) for r in everything(sqlite, "table", n)]
    assert {r.key: r.value for r in after} == {"a": {"n": 3}, "b": None, "c": {"n": 5}}
    assert all(record in before for record in after)
    assert sqlite.compact("table") == 0
    assert len(sqlite.consumer("g", ["table"], "a").poll(10, 0.0)) == 3
    with pytest.raises(LogError, match="only compacted topics"):
        sqlite.compact("one")


def test_amended_records_are_replaced_or_gone_and_their_bytes_too(sqlite: SqliteLog) -> None:
    put(sqlite, "table", *((f"user {n}", n) for n in range(200)), ("user 7", None))
    (where,) = {(r.partition, r.offset) for n in range(2) for r in everything(sqlite, "table", n) if r.key == "user 9"}
    (other,) = {(r.partition, r.offset) for n in range(2) for r in everything(sqlite, "table", n) if r.key == "user 8"}
    end = sqlite.end_offset("table", where[0])
    assert sqlite.amend("table", where[0], {where[1]: None, 10_000: None}) == 1
    assert sqlite.amend("table", other[0], {other[1]: ("nobody", {"n": -1})}) == 1
    assert [r.value for r in sqlite.with_key("table", other[0], "nobody")] == [{"n": -1}]
    assert sqlite.end_offset("table", where[0]) == end
    assert [r.key for n in range(2) for r in sqlite.tombstones("table", n)] == ["user 7"]
    sqlite.vacuum()
    files = b"".join(file.read_bytes() for file in sqlite.path.parent.glob(f"{sqlite.path.name}*"))
    assert b"user 10" in files and b"user 9{" not in files and b"user 8{" not in files


def test_a_file_locked_for_too_long_says_so(path: Path) -> None:
    with closing(SqliteLog(path, lock_timeout=0.05)) as log, closing(sqlite3.connect(path)) as other:
        log.create_topics([Topic("one")])
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogError, match=r"log\.db: database is locked; another process holds it"):
            put(log, "one", ("k", 1))
        other.rollback()
        put(log, "one", ("k", 2))
        assert [r.value for r in everything(log, "one")] == [{"n": 2}]


def test_a_full_disk_fails_clean_and_goes_on_when_there_is_space(sqlite: SqliteLog) -> None:
    put(sqlite, "one", ("k", 1))
    ((pages,),) = sqlite._database.rows("PRAGMA page_count")
    sqlite._database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LogError, match="the disk is full: free space"):
        put(sqlite, "one", *[(f"key {number}", number) for number in range(5000)])
    assert [r.value for r in everything(sqlite, "one")] == [{"n": 1}]
    sqlite._database.rows("PRAGMA max_page_count = 100000")
    put(sqlite, "one", ("k", 2))
    assert len(everything(sqlite, "one")) == 2


def test_what_is_no_log_is_refused_and_left_alone(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(LogError, match="it is no SQLite file"):
        SqliteLog(path)
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE theirs (x)")
    before = foreign.read_bytes()
    with pytest.raises(LogError, match="the database of another program"):
        SqliteLog(foreign)
    assert foreign.read_bytes() == before
    with pytest.raises(LogError, match=r"cannot be opened|unable to open"):
        SqliteLog(tmp_path)


def test_a_file_of_the_format_before_goes_on_and_tells_of_new_records_when_they_were_written(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parents[1] / "upgrade/pipeline.tar.xz") as archive:
        archive.extract("log.sqlite", tmp_path, filter="data")
    path = tmp_path / "log.sqlite"
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        kept = database.execute("SELECT count(*) FROM records").fetchone()[0]
    for count in (1, 2):
        with closing(SqliteLog(path, wall_clock=lambda: 1.8e9)) as log:
            put(log, "feedback", ("k", count))
            places = [(topic.name, number) for topic in log.topics() for number in range(topic.partitions)]
            found = [record for place in places for record in everything(log, *place)]
            assert len(found) == kept + count
            assert [r.written_at for r in found if r.written_at is not None] == [1.8e9] * count


def test_a_file_of_another_format_is_refused(path: Path) -> None:
    SqliteLog(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(LogError, match="has format 99"):
        SqliteLog(path)


def test_a_damaged_file_says_so(path: Path) -> None:
    with closing(SqliteLog(path)) as log:
        log.create_topics([Topic("one")])
        put(log, "one", *[("k", number) for number in range(2000)])
    raw = bytearray(path.read_bytes())
    raw[20000:] = bytes(len(raw) - 20000)
    path.write_bytes(raw)
    with pytest.raises(LogError, match=r"damaged: stop all processes"), closing(SqliteLog(path)) as log:
        list(log.read("one", 0, 0, 2000))


def test_a_closed_log_says_so(path: Path) -> None:
    log = SqliteLog(path)
    log.close()
    log.close()
    with pytest.raises(LogError, match="is closed"):
        log.create_topics([Topic("one")])


def test_twenty_thousand_records_take_about_a_second(sqlite: SqliteLog) -> None:
    producer = sqlite.producer("p")
    started = time.perf_counter()
    for first in range(0, 20_000, 256):
        with producer.transaction() as transaction:
            for number in range(first, min(first + 256, 20_000)):
                value = {"user_id": "u1", "item_id": "i1", "timestamp": 1.0, "n": number}
                transaction.send("many", value, key=f"u{number % 500}", timestamp=1.0)
    took = time.perf_counter() - started
    assert sum(sqlite.end_offset("many", n) for n in range(4)) == 20_000
    # Measured at a tenth of this; the rest is room for a busy machine or a slow disk.
    assert took < 4.0, f"{took:.2f} s"
