"""`raie topics` and every stage on logs of another rule, another set-up and other producers."""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest

from consumers.gate.migration import migrate_users
from consumers.gate.skip_lost import skip_lost
from consumers.runtime.log_binding import bind_log, identity_of, read_log_binding
from consumers.runtime.topic_reader import new_records
from pipeline.config import Config, WindowSettings
from pipeline.errors import LogError
from pipeline.events.user_state import SENT_ON, UserState, digest
from pipeline.events.windows import History
from pipeline.setup.binding import Binding
from pipeline.setup.storage import save_setup
from pipeline.streams import Log, RecordsLostError, SqliteLog, UnavailableError
from pipeline.streams import open_log as open_log_at
from pipeline.streams.partitioner import EARLIER, PARTITIONERS, partition_of
from pipeline.streams.topics import INTERACTIONS, USERS, pipeline_topics
from tests.broker import settings
from tests.consumers.gating import (
    OpenLog,
    changed,
    gate_loop,
    gated,
    named,
    read,
    users,
    users_by_pseudonym,
    write,
)
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_gate_commands import OnALog
from tests.consumers.test_gate_faults import Patient
from tests.consumers.test_loop import until
from tests.consumers.test_repartition import by_user, homes, in_order, scatter, stream

PARTITIONS = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("topics-commands") / "root"
    save_setup(the_setup(), folder)
    return folder


@pytest.fixture
def on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> OnALog:
    log = OnALog(tmp_path / "log.sqlite", capsys)
    log.partitions = PARTITIONS
    return log


@pytest.fixture(params=["sqlite", "kafka"])
def open_any_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    if request.param == "sqlite":
        return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    url, asked = request.getfixturevalue("kafka_url"), settings(session_seconds=1.0)
    return lambda: open_log_at(url, asked)


def earlier(user: str) -> int:
    return PARTITIONERS[EARLIER](user.encode(), PARTITIONS)


def state(*items: str, at: float, since_setup: int = 0, ahead: tuple[int, ...] = ()) -> UserState:
    return UserState(History(items, since_setup), f"e{at}", at, b"".join(map(digest, items)), ahead=ahead)


def of_an_earlier_version(log: Log, states: Mapping[str, UserState]) -> None:
    """Write states where an earlier version put them."""
    log.create_topics(pipeline_topics(PARTITIONS))
    with log.producer("earlier").transaction() as transaction:
        for user, found in states.items():
            where = {"key": user, "partition": earlier(user), "timestamp": 1.0}
            transaction.send(USERS, found.to_record(0), **where)  # type: ignore[arg-type]


MANY = {f"u{i}": state(f"i{i}", at=float(i)) for i in range(40)}


@pytest.mark.parametrize("command", ["gate", "monitor", "train", "serve", "produce", "create", "check"])
def test_a_log_of_an_earlier_version_is_refused_with_the_command_that_migrates_it(
    on: OnALog, root: Path, command: str
) -> None:
    of_an_earlier_version(on.log(), MANY)
    ended = on(*{"create": ("topics", "create"), "check": ("topics", "check")}.get(command, with_root(command, root)))
    assert (ended.code, ended.out) == (2, "")
    assert "run `raie topics migrate` once" in ended.err.splitlines()[-1]


def with_root(command: str, root: Path) -> tuple[str | Path, ...]:
    if command == "produce":
        from tests.replay.small import emerging

        return ("produce", "--data", emerging())
    return (command, "--root", root, *(("--set", "server.port=0") if command == "serve" else ()))


def without_id(log: Log) -> dict[str, Any]:
    """The binding of a log but for its identity, which is random."""
    found = dict(read_log_binding(log))
    assert len(found.pop("id", "0" * 16)) == 16
    return found


def test_a_log_of_an_earlier_version_gets_an_identity_and_keeps_its_set_up(on: OnALog) -> None:
    log = on.log()
    log.create_topics(pipeline_topics(PARTITIONS))
    earlier = {"kind": "log", "partitioner": "murmur2", "root": "0" * 64, "settings": {"windows.length": 9}}
    with log.producer("earlier").transaction() as transaction:
        transaction.send("control", earlier, key="log", timestamp=0.0)
    config = Config(windows=WindowSettings(length=9))
    assert identity_of(log) == ""
    for _ in range(2):
        bind_log(log, "writer", config)
        identity = identity_of(log)
    assert len(identity) == 16 and without_id(log) == earlier
    with pytest.raises(LogError, match="another set-up"):
        bind_log(log, "writer", config, Binding("1" * 64, {}))
    assert identity_of(log) == identity and len(new_records(log, "control", 0)) == 2


def test_a_log_of_one_partition_needs_no_migration(on: OnALog) -> None:
    on.partitions = 1
    log = on.log()
    log.create_topics(pipeline_topics(1))
    with log.producer("earlier").transaction() as transaction:
        transaction.send(USERS, state("a", at=1.0).to_record(0), key="u", timestamp=1.0)
    assert on("topics", "create").code == 0
    assert on("topics", "check").code == 0
    assert without_id(log) == {"kind": "log", "partitioner": "murmur2"}


def test_the_command_moves_every_user_and_may_be_repeated(on: OnALog) -> None:
    log = on.log()
    of_an_earlier_version(log, MANY)
    elsewhere = sum(partition_of(user, PARTITIONS) != earlier(user) for user in MANY)
    first, again = on("topics", "migrate"), on("topics", "migrate")
    assert first.out == f"{on.url}: {elsewhere} of 40 users moved to the partition of their key\n"
    assert again.out == f"{on.url}: 0 of 40 users moved to the partition of their key\n"
    assert homes(log, USERS) == {user: {partition_of(user, PARTITIONS)} for user in MANY}
    assert on("topics", "check").code == 0


def test_a_migrated_log_goes_on_as_if_it_had_always_been_so(open_any_log: OpenLog, tmp_path: Path) -> None:
    log, values = open_any_log(), stream()[:80]
    log.create_topics(pipeline_topics(PARTITIONS))
    expected = in_order(tmp_path, values, changed(gate={"horizon": 500.0}), past=False)
    config = changed(gate={"horizon": 500.0})
    scatter(log, values[:40], earlier)
    gate_loop(open_any_log, tmp_path, config).run()
    _move_back(log)
    migrated = migrate_users(log, 5.0, monotonic)
    assert migrated.moved > 5
    assert homes(log, USERS) == {user: {partition_of(user, PARTITIONS)} for user in users(log)}
    scatter(log, values[40:], earlier)
    gate_loop(open_any_log, tmp_path, config).run()
    assert by_user(named(log)) == expected
    assert set(Counter(users_by_pseudonym(log).values()).values()) == {1}


def _move_back(log: Log) -> None:
    """Put every user on the partition of the earlier rule."""
    with log.producer("earlier").transaction() as transaction:
        for user, value in users(log).items():
            if value is not None and earlier(user) != partition_of(user, PARTITIONS):
                transaction.send(USERS, {**value, "input": 0}, key=user, partition=earlier(user), timestamp=1.0)
                transaction.send(USERS, None, key=user, partition=partition_of(user, PARTITIONS), timestamp=1.0)


def test_two_states_of_a_user_become_one_and_what_was_done_ahead_stays_done(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    log.create_topics(pipeline_topics(PARTITIONS))
    home, other = partition_of("ann", PARTITIONS), (partition_of("ann", PARTITIONS) + 1) % PARTITIONS
    with log.producer("earlier").transaction() as transaction:
        for partition, found in (
            (other, state("a", "b", at=5.0, since_setup=1, ahead=(3, 7))),
            (home, state("c", at=9.0, since_setup=1, ahead=(2,))),
        ):
            transaction.send(USERS, found.to_record(0), key="ann", partition=partition, timestamp=1.0)
    assert migrate_users(log, 5.0, monotonic).merged == 1
    (merged,) = [r.value for r in read(log, USERS, home)[-1:]]
    assert merged is not None
    assert (merged["history"], merged["since_setup"], merged["ahead"]) == (["a", "b", "c"], 2, [2])
    assert merged["latest"] == {"event_id": "e9.0", "timestamp": 9.0}
    assert base64.b64decode(str(merged["seen"])) == b"".join(map(digest, "abc"))
    newest = {r.key: r.value for r in read(log, USERS, other)}
    assert newest["ann"] is None
    assert newest[SENT_ON] is not None
    assert newest[SENT_ON]["ahead"] == [3, 7]


class Dying:
    """A log whose producer fails at the n-th transaction."""

    def __init__(self, log: Log, at: int) -> None:
        self._log, self._left = log, at

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def producer(self, name: str) -> object:
        self._producer = self._log.producer(name)
        return self

    def transaction(self) -> object:
        self._left -= 1
        if self._left < 0:
            raise UnavailableError("killed")
        return self._producer.transaction()


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_migration_that_is_interrupted_is_taken_up_again(
    on: OnALog, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr("consumers.gate.migration.TRANSACTION", 12)
    log = on.log()
    of_an_earlier_version(log, MANY)
    with pytest.raises(UnavailableError):
        migrate_users(Dying(log, at), 5.0, monotonic)  # type: ignore[arg-type]
    assert on("topics", "check").code == 2
    migrate_users(log, 5.0, monotonic)
    assert homes(log, USERS) == {user: {partition_of(user, PARTITIONS)} for user in MANY}
    assert {user: value["history"] for user, value in users_at_home(log).items()} == {
        user: list(found.history.items) for user, found in MANY.items()
    }


def users_at_home(log: Log) -> dict[str, Mapping[str, object]]:
    newest = ({r.key: r.value for r in read(log, USERS, partition)} for partition in range(PARTITIONS))
    return {str(user): value for states in newest for user, value in states.items() if value is not None and user}


def test_while_a_gate_runs_nothing_is_migrated(open_any_log: OpenLog, tmp_path: Path) -> None:
    log, stop = open_any_log(), Event()
    of_an_earlier_version(log, MANY)
    loop = gate_loop(open_any_log, tmp_path, changed(), stop=stop, kind=Patient)
    thread = Thread(target=loop.run)
    thread.start()
    until(lambda: len(loop._stage._users) == PARTITIONS)  # type: ignore[attr-defined]
    try:
        with pytest.raises(LogError, match="a gate is running on this log: stop all stages"):
            migrate_users(log, 0.7, monotonic)
        assert homes(log, USERS) == {user: {earlier(user)} for user in MANY}
    finally:
        stop.set()
        thread.join()


# The set-up that a log is bound to.


@pytest.mark.parametrize("command", ["gate", "monitor", "train", "serve"])
def test_another_window_length_than_the_set_ups_is_refused_and_named(on: OnALog, root: Path, command: str) -> None:
    ended = on(*with_root(command, root), "--set", "windows.length=7")
    assert (ended.code, ended.out) == (2, "")
    assert "windows.length: 7 here, and the set-up in" in ended.err
    assert "set windows.length=" in ended.err


@pytest.mark.parametrize("command", ["gate", "monitor", "train", "serve"])
def test_another_set_up_than_the_logs_is_refused_and_named(on: OnALog, root: Path, command: str) -> None:
    from pipeline.setup.binding import read_binding

    log = on.log()
    log.create_topics(pipeline_topics(PARTITIONS))
    with log.producer("first").transaction() as transaction:
        value = {"kind": "log", "partitioner": "murmur2", "root": "0" * 64, "settings": read_binding(root).settings}
        transaction.send("control", value, key="log", timestamp=0.0)
    ended = on(*with_root(command, root))
    assert (ended.code, ended.out) == (2, "")
    assert "was begun with another set-up (fingerprint 000000000000) than that of --root" in ended.err.splitlines()[-1]


def test_the_first_stage_binds_the_log_and_produce_checks_the_setting(on: OnALog, root: Path) -> None:
    from pipeline.setup.binding import read_binding

    on("topics", "create")
    log, binding = on.log(), read_binding(root)
    with on.terminated_once(lambda: "root" in read_log_binding(log)):
        assert on("gate", "--root", root, "--set", "consumers.poll_timeout=0.02").code == 0
    assert without_id(log) == {
        "kind": "log",
        "partitioner": "murmur2",
        "root": binding.root,
        "settings": binding.settings,
    }
    ended = on(*with_root("produce", root), "--set", "windows.length=7")
    assert ended.code == 2
    assert "windows.length: 7 here, and the set-up of sqlite:" in ended.err


# What `topics check` says of other producers.


def placed(log: Log, place: str) -> None:
    rng = Random(0)
    with log.producer("other").transaction() as transaction:
        for number in range(400):
            user = f"u{rng.randrange(50)}"
            key = None if place == "none" else user
            partition = {
                "none": rng.randrange(PARTITIONS),
                "crc32": zlib.crc32(user.encode()) % PARTITIONS,
                "murmur2": partition_of(user, PARTITIONS),
                "random": rng.randrange(PARTITIONS),
            }[place]
            raw = json.dumps({"user_id": user, "item_id": "i", "timestamp": 1.5e9 + number}).encode()
            transaction.send(INTERACTIONS, raw, key=key, partition=partition, timestamp=1.0)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("murmur2", "placed by murmur2, as by Java clients, kafka-python and this program"),
        ("crc32", "placed by CRC32, as by librdkafka: confluent-kafka, kcat"),
        ("none", "without a key"),
        ("random", "placed by no known partitioner"),
    ],
)
def test_check_explains_the_placement_and_says_what_happens(on: OnALog, place: str, expected: str) -> None:
    assert on("topics", "create").code == 0
    placed(on.log(), place)
    ended = on("topics", "check")
    assert ended.code == 0
    partitions = [line for line in ended.out.splitlines() if line.startswith("  partition")]
    assert len(partitions) == PARTITIONS
    assert all(expected in line for line in partitions)
    if place == "murmur2":
        assert ended.out.endswith("all are on the partition of their user\n")
    else:
        assert "are not on the partition of their user: gates send them on, each once" in ended.out


def test_check_names_foreign_keys_and_records_without_a_user(on: OnALog) -> None:
    on("topics", "create")
    log = on.log()
    with log.producer("other").transaction() as transaction:
        for number in range(20):
            value = {"item_id": "i"} if number < 3 else {"user_id": f"u{number}", "item_id": "i", "timestamp": 1.5e9}
            transaction.send(INTERACTIONS, value, key=f"session {number}", timestamp=1.0)
    out = on("topics", "check").out
    assert "placed by murmur2" in out
    assert "with a key that is not the user id" in out
    assert "3 name no user: gates refuse them" in out


def test_gates_go_on_behind_interactions_that_retention_deleted(open_any_log: OpenLog, tmp_path: Path) -> None:
    log = open_any_log()
    log.create_topics(pipeline_topics(2))
    write(log, [{"user_id": f"u{n}", "item_id": "i", "timestamp": 1.5e9 + n, "event_id": f"e{n}"} for n in range(20)])
    gate_loop(open_any_log, tmp_path, changed()).run()
    committed = log.committed("gate", INTERACTIONS, 0)
    write(log, [{"user_id": f"u{n}", "item_id": "i", "timestamp": 1.6e9 + n, "event_id": f"l{n}"} for n in range(20)])
    first = log.end_offset(INTERACTIONS, 0)
    log.delete_before(INTERACTIONS, 0, first)
    with pytest.raises(RecordsLostError, match=r"lost offsets .* of \S*interactions/0: .* `raie topics skip`"):
        gate_loop(open_any_log, tmp_path, changed()).run()
    (lost,) = skip_lost(log, 10.0, monotonic)
    assert (lost.partition, lost.start, lost.end) == (0, committed, first)
    assert skip_lost(log, 10.0, monotonic) == []
    gate_loop(open_any_log, tmp_path, changed()).run()
    kept = {str((record.value or {})["event_id"]) for record in read(log, INTERACTIONS, 1)}
    assert {g["event_id"] for g in gated(log)} == {f"e{n}" for n in range(20)} | kept


def test_skip_says_what_is_lost(on: OnALog) -> None:
    with closing(on.log()) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        write(log, [{"user_id": "u"}] * 5, partition=3)
        with closing(log.consumer("gate", [INTERACTIONS], "g")) as consumer:
            consumer.poll(1, 0.0)
            with log.producer("gate").transaction() as transaction:
                transaction.commit_offsets(consumer)
        log.delete_before(INTERACTIONS, 3, 4)
    found = on("topics", "skip")
    assert (found.code, found.out) == (0, "interactions/3: offsets 1..3 are lost\ngates go on behind them\n"), found
    assert on("topics", "skip").out.endswith("no gate has lost records\n")
