"""The server's users lie in kept tables: a restart reads what is new, and a damaged table is read again."""

from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumers.runtime.user_tables import UserTables
from consumers.server.views.users import Users
from pipeline.events.erasure import erasure_key
from pipeline.events.user_state import SENT_ON, UserState
from pipeline.events.windows import History
from pipeline.streams import SqliteLog
from pipeline.streams.interface import UnavailableError
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import USERS, pipeline_topics
from tests.server.world import World, eventually, serving

PARTITIONS, LENGTH, CACHED = 2, 3, 2

USER_IDS = [f"user-{n}" for n in range(8)]


def state(rng: Random) -> dict[str, Any]:
    items = tuple(rng.choice("abcdefgh") for _ in range(rng.randrange(1, LENGTH + 1)))
    return UserState(History(items, 1), "e", 1.0, taken=tuple("xyz"[: rng.randrange(4)])).to_record(5)


def write(log: SqliteLog, rng: Random, records: int) -> None:
    with log.producer("gate").transaction() as transaction:
        for _ in range(records):
            user_id = rng.choice(USER_IDS)
            key, value = rng.choices(
                [(user_id, state(rng)), (user_id, None), (erasure_key(user_id), state(rng)), (SENT_ON, state(rng))],
                [8, 1, 1, 1],
            )[0]
            home = partition_of(user_id, PARTITIONS)
            partition = home if rng.random() < 0.9 else 1 - home
            transaction.send(USERS, value, key=key, partition=partition, timestamp=1.0)


def follow(view: Users, log: SqliteLog) -> int:
    """Read everything from where the tables end; return the number of records."""
    records = [
        record
        for partition, start in view.follow(log).items()
        for record in log.read(USERS, partition, start, log.end_offset(USERS, partition))
    ]
    for record in records:
        view.apply(record)
    return len(records)


def contents(view: Users) -> dict[str, Any]:
    return {user_id: (view.history(user_id), view.taken(user_id)) for user_id in USER_IDS} | {"users": len(view)}


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    log = SqliteLog(tmp_path / "log.sqlite")
    log.create_topics(pipeline_topics(PARTITIONS))
    return log


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_a_view_in_memory_and_a_restart_reads_what_is_new(tmp_path: Path, log: SqliteLog, seed: int) -> None:
    rng = Random(seed)
    tables = UserTables(tmp_path / "users" / "server", interval=0.0)
    for _ in range(12):
        write(log, rng, 10)
        with closing(Users(LENGTH, (), PARTITIONS, tables, CACHED)) as view:
            assert follow(view, log) == 10
            in_memory = Users(LENGTH, (), PARTITIONS)
            follow(in_memory, log)
            for _ in range(2):
                assert contents(view) == contents(in_memory)
                view.checkpoint(log, {})
            assert len(view._cached) <= CACHED
        if rng.random() < 0.3:
            log.compact(USERS)


def test_views_of_parts_have_each_user_once_and_nothing_of_other_parts(tmp_path: Path, log: SqliteLog) -> None:
    write(log, Random(0), 200)
    whole = Users(LENGTH, (), PARTITIONS)
    follow(whole, log)
    tables = [UserTables(tmp_path / "users" / f"server-{part}", interval=0.0) for part in range(PARTITIONS)]
    parts = [Users(LENGTH, (), PARTITIONS, kept, CACHED, [part]) for part, kept in enumerate(tables)]
    for part, view in enumerate(parts):
        with closing(view):
            follow(view, log)
            for other in range(PARTITIONS):
                for record in log.read(USERS, other, 0, log.end_offset(USERS, other)):
                    view.apply(record)
            view.checkpoint(log, {})
            assert view.ids() == [user_id for user_id in whole.ids() if partition_of(user_id, PARTITIONS) == part]
            for user_id in USER_IDS:
                known = whole.taken(user_id) if partition_of(user_id, PARTITIONS) == part else ()
                assert view.taken(user_id) == known


def test_a_damaged_table_answers_as_of_a_stranger_until_it_is_read_again(tmp_path: Path, log: SqliteLog) -> None:
    folder = tmp_path / "users" / "server"
    tables = UserTables(folder, interval=0.0)
    view = Users(LENGTH, (), PARTITIONS, tables, cached=0)
    write(log, Random(0), 200)
    records = follow(view, log)
    view.checkpoint(log, {})
    before = contents(view)
    view.close()
    for path in folder.glob("*.users"):
        path.write_bytes(path.read_bytes().replace(b'"since_setup"', b'"since_sExup"'))
    view.follow(log)
    assert view.history("user-1") == History() != before["user-1"][0]
    for _ in range(PARTITIONS):
        with pytest.raises(UnavailableError, match="thrown away"):
            view.checkpoint(log, {})
        assert 0 < follow(view, log) <= records
        found = contents(view)
    assert found == before


def test_a_full_disk_leaves_changes_in_memory_until_there_is_room(tmp_path: Path, log: SqliteLog) -> None:
    said: list[str] = []
    tables = UserTables(tmp_path / "users" / "server", said.append, interval=0.0)
    with closing(Users(LENGTH, (), PARTITIONS, tables, cached=0)) as view:
        write(log, Random(0), 20)
        follow(view, log)
        view.checkpoint(log, {})
        written = [table.applied.position for table in view._tables.values()]
        for table in view._tables.values():
            (pages,) = table._writing.execute("PRAGMA page_count").fetchone()
            table._writing.execute(f"PRAGMA max_page_count = {pages}")
        in_memory = Users(LENGTH, (), PARTITIONS)
        with log.producer("gate").transaction() as transaction:
            for user_id in (f"new-{n}" for n in range(1_000)):
                home = partition_of(user_id, PARTITIONS)
                transaction.send(USERS, state(Random(1)), key=user_id, partition=home, timestamp=1.0)
        for partition, start in enumerate(written):
            for record in log.read(USERS, partition, start, log.end_offset(USERS, partition)):
                view.apply(record)
        follow(in_memory, log)
        for _ in range(3):
            view.checkpoint(log, {})
            assert contents(view) == contents(in_memory)
        assert [table.applied.position for table in view._tables.values()] == written
        assert len(said) == 1 and "check the disk and the free space; changes of users stay in memory" in said[0]
        for table in view._tables.values():
            table._writing.execute("PRAGMA max_page_count = 100000")
        view.checkpoint(log, {})
        assert contents(view) == contents(in_memory)
        assert all(t.applied.position == log.end_offset(USERS, n) for n, t in view._tables.items())
        assert len(said) == 1


def test_a_restarted_server_reads_users_from_its_tables_and_another_one_from_the_log(world: World) -> None:
    def history(instance: str) -> History:
        with serving(world, instance=instance) as server:
            eventually(lambda: all(table.applied.as_of for table in server.service.users._tables.values()))
            return server.service.users.history("a0")

    before = history("one")
    assert before.items
    with closing(SqliteLog(world.log_path)) as log:
        for partition in range(log.topic(USERS).partitions):
            log.delete_before(USERS, partition, log.end_offset(USERS, partition))
    assert (history("one"), history("two")) == (before, History())
