"""Purge of an embedded log: no byte of its files holds an erased user."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumers.erasure.purge import TOMBSTONE, Purge
from consumers.monitor.changelog import MonitorSnapshot, read_newest, snapshot_outputs
from consumers.runtime.compaction import compact
from pipeline.errors import LogError
from pipeline.events.edit import Evidence
from pipeline.events.erasure import Erasure
from pipeline.events.gated import read_events
from pipeline.events.loaded_history import LoadedHistory
from pipeline.streams import Log, SqliteLog
from pipeline.streams.sqlite.generation import SqliteGeneration
from pipeline.streams.topics import GATED, INTERACTIONS, MONITOR, pipeline_topics
from tests.consumers.gating import changed, gated, letters, named, read, users, write
from tests.consumers.run_of_raie import the_setup
from tests.consumers.schema_2 import to_schema_2
from tests.consumers.test_erasure import ERASED_AT, NOW, PARTITIONS, elsewhere, event, run_gate, run_monitor

EVE, OLD = "eve.unmistakable@example.org", "old.unmistakable@example.org"
HOUR = 1_800_000_000.0
"""Wall clock at which all records are written."""


def of_eve(number: int) -> dict[str, object]:
    return {**event(number, EVE), "event_id": f"e{number}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path: Path, tmp_path: Path) -> Iterator[SqliteLog]:
    """A log with two users to erase: one that was gated, and one that has a loaded history alone."""
    with closing(at_hour(path)) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        items = [f"only-old-took-{number}" for number in range(30)]
        loaded = LoadedHistory(OLD, items[:20], items[20:], ["l"], NOW)
        write(log, [loaded.to_record(), *(event(n, "bob") for n in range(40)), *map(of_eve, range(40))])
        write(log, [of_eve(40), {**of_eve(41), "timestamp": "soon"}], elsewhere(EVE))
        write(log, [{"erase": True, "user_id": EVE, "timestamp": "soon"}])
        run_gate(lambda: at_hour(path), tmp_path)
        run_monitor(lambda: at_hour(path))
        yield log


def at_hour(path: Path) -> SqliteLog:
    return SqliteLog(path, lease=1.0, wall_clock=lambda: HOUR)


def erase(path: Path, folder: Path, *, monitored: bool = True) -> None:
    with closing(at_hour(path)) as log:
        write(log, [Erasure(user, ERASED_AT).to_record() for user in (EVE, OLD)], elsewhere(EVE))
    run_gate(lambda: at_hour(path), folder)
    if monitored:
        run_monitor(lambda: at_hour(path))


def purge(log: SqliteLog, at: float = HOUR) -> int:
    compact(log)
    return Purge({}, lambda: at, lambda: "somebody")(log)


def found(path: Path, text: str) -> int:
    """Number of places in the files of the log that hold a text."""
    return sum(file.read_bytes().count(text.encode()) for file in path.parent.glob(f"{path.name}*"))


def test_no_byte_of_the_files_holds_an_erased_user(log: SqliteLog, path: Path, tmp_path: Path) -> None:
    assert found(path, EVE) > 80 and found(path, OLD) >= 2 and found(path, "only-old-took-") >= 60
    assert len(letters(log)) == 2 and EVE not in str(letters(log))
    keys = [key for user in (EVE, OLD) for key in (users(log)[user] or {})["keys"]]
    assert len(keys) == 2 and all(found(path, key) for key in keys)
    erase(path, tmp_path)
    assert users(log)[EVE] is users(log)[OLD] is None
    purge(log)
    assert found(path, "only-old-took-") == 0
    assert not any(found(path, key) for key in keys)
    assert all(record.value is not None for record in read(log, GATED)), "its time would lead to the pseudonym"
    assert (found(path, EVE), found(path, OLD)) == (1, 1), "the tombstones, for servers that follow"
    assert purge(log, HOUR + TOMBSTONE - 1) == 0
    assert purge(log, HOUR + TOMBSTONE) == 2
    assert (found(path, EVE), found(path, OLD)) == (0, 0)
    assert all(letter["reason"] == "bad_timestamp" and letter["value"] is None for letter in letters(log))
    assert purge(log, HOUR + 2 * TOMBSTONE) == 0


def test_others_and_edits_find_everything_and_every_stage_starts_again(
    log: SqliteLog, path: Path, tmp_path: Path
) -> None:
    before = gated(log)
    erase(path, tmp_path)
    purge(log, HOUR + TOMBSTONE)
    assert gated(log) == before
    windows = [Evidence(r.value["event_id"], r.offset, 0) for r in read(log, GATED) if r.value is not None]  # type: ignore[arg-type]
    assert len(read_events(log, windows, the_setup().catalogue.item_ids)) == len(before)
    write(log, [event(60, "bob"), of_eve(45), of_eve(60)])
    run_gate(lambda: at_hour(path), tmp_path)
    assert [(g["user_id"], len(g["window"])) for g in named(log)[len(before) :]] == [
        ("bob", changed().windows.length),
        (EVE, 0),
    ]
    state = run_monitor(lambda: at_hour(path))._driver.monitor.state
    assert set(state.users) == {g["user_id"] for g in before if g["event_id"] == "bob-0"}
    # The user who came back is not the one who was erased: nothing new is touched, the late event goes.
    purge(log, HOUR + TOMBSTONE)
    assert named(log)[-1]["user_id"] == EVE
    left = [r.value for p in range(PARTITIONS) for r in read(log, INTERACTIONS, p) if r.value is not None]
    assert [value["event_id"] for value in left if value["user_id"] == EVE] == ["e60"]


def test_user_ids_of_an_earlier_version_become_a_pseudonym(log: SqliteLog, path: Path, tmp_path: Path) -> None:
    to_schema_2(log)
    before = gated(log)
    assert EVE in str(before) and EVE in str(letters(log))
    erase(path, tmp_path)
    purge(log, HOUR + TOMBSTONE)
    assert gated(log) == [{**g, "user_id": "somebody"} if g["user_id"] == EVE else g for g in before]
    assert (found(path, EVE), found(path, OLD)) == (0, 0)


def test_nothing_is_renamed_before_the_monitor_has_read_the_erasure(log: SqliteLog, path: Path, tmp_path: Path) -> None:
    to_schema_2(log)
    erase(path, tmp_path, monitored=False)
    purge(log)
    assert any(g["user_id"] == EVE for g in gated(log))
    assert EVE not in run_monitor(lambda: at_hour(path))._driver.monitor.state.users
    purge(log)
    assert not any(g["user_id"] == EVE for g in gated(log))


def test_an_event_that_no_gate_has_read_stays(log: SqliteLog, path: Path, tmp_path: Path) -> None:
    erase(path, tmp_path)
    write(log, [of_eve(44)])
    purge(log)
    left = [r.value for p in range(PARTITIONS) for r in read(log, INTERACTIONS, p) if r.value is not None]
    assert [value["event_id"] for value in left if value["user_id"] == EVE] == ["e44"]


def test_one_purger_reads_each_record_once_and_again_after_an_erasure(
    log: SqliteLog, path: Path, tmp_path: Path
) -> None:
    to_schema_2(log)
    purger = Purge({}, lambda: HOUR)
    assert purger(log) == 0
    erase(path, tmp_path)
    assert purger(log) > 80
    assert purger(log) == 0
    write(log, [Erasure("bob", ERASED_AT).to_record()])
    run_gate(lambda: at_hour(path), tmp_path)
    run_monitor(lambda: at_hour(path))
    assert purger(log) > 40
    assert {g["user_id"][:7] for g in gated(log)} == {"erased-"}
    write(log, [event(200, "zoe")])
    run_gate(lambda: at_hour(path), tmp_path)
    run_monitor(lambda: at_hour(path))
    log.delete_before(GATED, 0, log.end_offset(GATED, 0))
    assert purger(log) == 0, "it goes on behind what retention deleted"


def test_an_interrupted_purge_is_made_up_for(
    log: SqliteLog, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(path, tmp_path)
    purger = Purge({}, lambda: HOUR)
    with monkeypatch.context() as broken:
        broken.setattr(SqliteLog, "amend", failing)
        with pytest.raises(LogError):
            purger(log)
    compact(log)
    purger(log)
    assert found(path, EVE) == 1


def failing(*_: object) -> int:
    raise LogError("the disk is full")


def test_a_snapshot_that_the_monitor_writes_meanwhile_stays_whole(
    log: SqliteLog, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(path, tmp_path)
    before = read_newest(log)

    def overtaken(of: Log) -> MonitorSnapshot:
        found = read_newest(of)
        with log.producer("monitor").transaction() as transaction:
            for out in snapshot_outputs(found.number + 1, found.state or {}, found.at, 1.0, found.chunks):
                transaction.send(out.topic, out.value, key=out.key, timestamp=out.timestamp)
        return found

    monkeypatch.setattr("consumers.erasure.purge.read_newest", overtaken)
    purge(log, HOUR + TOMBSTONE)
    after = read_newest(log)
    assert (after.number, after.state) == (before.number + 1, before.state) and before.state is not None


def test_a_rewriting_that_failed_is_made_up_for(
    log: SqliteLog, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(path, tmp_path)
    purging = Purge({}, lambda: HOUR + TOMBSTONE)
    compact(log)
    with monkeypatch.context() as patch, pytest.raises(LogError, match="the disk is full"):
        patch.setattr(SqliteLog, "vacuum", failing)
        purging(SqliteGeneration(log, 1))
    rewritten: list[int] = []
    monkeypatch.setattr(SqliteLog, "vacuum", lambda _: rewritten.append(1))
    for _ in range(2):
        assert purging(SqliteGeneration(log, 1)) == 0
    assert rewritten == [1]


def test_chunks_of_earlier_snapshots_go(log: SqliteLog, path: Path, tmp_path: Path) -> None:
    with log.producer("monitor").transaction() as transaction:
        value = {"kind": "chunk", "snapshot": 0, "data": EVE}
        transaction.send(MONITOR, value, key="chunk-00099", timestamp=1.0)
    erase(path, tmp_path)
    purge(log, HOUR + TOMBSTONE)
    assert found(path, EVE) == 0
    assert "chunk-00099" not in {record.key for record in read(log, MONITOR)}
