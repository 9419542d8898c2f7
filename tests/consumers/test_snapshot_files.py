"""Snapshots of a gate whose state is a file of the store: kills, readers that are late, files that are superseded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters_store import AdaptersStore
from adapters_store.errors import StoreError
from consumers.gate import changelog
from consumers.gate.changelog import OnlineSnapshot, StateFile, read_snapshot, snapshot_outputs
from consumers.gate.snapshot_files import SnapshotFiles
from consumers.runtime.stage import Output, Point
from pipeline.errors import LogError
from pipeline.streams import MemoryLog, SqliteLog
from pipeline.streams.topics import GATED, TREND, pipeline_topics
from tests.consumers.gating import changed, events, fill, gate_loop, gated, read, said

INLINE = changelog.LARGEST_INLINE
KEPT = 3_600.0


@pytest.fixture
def store(tmp_path: Path) -> AdaptersStore:
    return AdaptersStore(tmp_path / "adapters")


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create_topics(pipeline_topics(2))
    return log


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def snapshot(number: int, size: int = INLINE) -> OnlineSnapshot:
    arrays: dict[str, NDArray[Any]] = {
        "weights": np.random.default_rng(number).normal(size=(size // 16 + 1, 2)),
        "rows": np.arange(number, number + 3),
    }
    return OnlineSnapshot(arrays, number, 1, 5 * number, ["i1", ""], ["i1"], 2.5, 7)


def write(log: MemoryLog, number: int, replace: Callable[[bytes], StateFile] | None, gate: str = "g") -> list[Output]:
    outputs = snapshot_outputs(gate, snapshot(number), 1.0, replace)
    with log.producer(gate).transaction() as transaction:
        for out in outputs:
            transaction.send(out.topic, out.value, key=out.key, partition=0, timestamp=out.timestamp)
    return outputs


def same(one: OnlineSnapshot | None, other: OnlineSnapshot) -> bool:
    assert one is not None
    alike = all(np.array_equal(one.arrays[name], array) for name, array in other.arrays.items())
    fields = ("events", "next_revision", "gated", "items", "untaken", "now", "next_item")
    return alike and all(getattr(one, name) == getattr(other, name) for name in fields)


def test_a_large_state_is_a_file_and_its_record_is_short(log: MemoryLog, store: AdaptersStore) -> None:
    files = SnapshotFiles(store.arrays, "g", Clock(), KEPT)
    (out,) = write(log, 1, files.replace)
    (record,) = read(log, TREND)
    assert len(record.raw or b"") < 1_000
    assert same(read_snapshot(log, "g", store.arrays), snapshot(1))
    assert [out.value["file"]["sha256"]] == store.arrays.names()  # type: ignore[index, call-overload]


def test_a_small_state_and_those_of_before_are_read_from_the_log(log: MemoryLog, store: AdaptersStore) -> None:
    files = SnapshotFiles(store.arrays, "g", Clock(), KEPT)
    small = snapshot_outputs("g", snapshot(1, 100), 1.0, files.replace)
    assert small == snapshot_outputs("g", snapshot(1, 100), 1.0)
    before = write(log, 1, None)
    assert len(before) > 1, "a snapshot of the version before has chunks, whatever its size"
    assert same(read_snapshot(log, "g", store.arrays), snapshot(1))
    write(log, 2, files.replace)
    assert same(read_snapshot(log, "g", store.arrays), snapshot(2))
    write(log, 3, None)
    assert same(read_snapshot(log, "g", store.arrays), snapshot(3))


def test_a_version_that_knows_no_files_refuses_the_snapshot(log: MemoryLog, store: AdaptersStore) -> None:
    (out,) = snapshot_outputs("g", snapshot(1), 1.0, SnapshotFiles(store.arrays, "g", Clock(), KEPT).replace)
    value = {name: field for name, field in (out.value or {}).items() if name != "file"}  # type: ignore[union-attr]
    with log.producer("g").transaction() as transaction:
        transaction.send(TREND, value, key="g/00000", timestamp=1.0)
    with pytest.raises(LogError, match="the trend of gate g is damaged"):
        read_snapshot(log, "g", store.arrays)


def test_superseded_files_go_an_hour_later_and_the_newest_two_stay(log: MemoryLog, store: AdaptersStore) -> None:
    clock = Clock()
    files, names = SnapshotFiles(store.arrays, "g", clock, KEPT), []
    for number in range(4):
        (out,) = write(log, number, files.replace)
        names.append(out.value["file"]["sha256"])  # type: ignore[index, call-overload]
    assert store.arrays.names() == sorted(names)
    clock.now = KEPT
    write(log, 4, files.replace)
    assert set(store.arrays.names()) & set(names) == {names[3]}, "the predecessor"
    clock.now = 10 * KEPT
    write(log, 5, files.replace)
    assert len(store.arrays.names()) == 2


def test_a_restored_gate_goes_on_with_the_files_that_its_record_names(log: MemoryLog, store: AdaptersStore) -> None:
    clock = Clock()
    for number in range(3):
        files = SnapshotFiles(store.arrays, "g", clock, KEPT)
        found = read_snapshot(log, "g", store.arrays)
        files.restore(() if found is None else found.files)
        write(log, number, files.replace)
    assert len(store.arrays.names()) == 3
    clock.now = 2 * KEPT
    write(log, 3, files.replace)
    assert len(store.arrays.names()) == 2


def test_of_the_files_only_what_was_to_replace_the_newest_is_an_orphan(log: MemoryLog, store: AdaptersStore) -> None:
    others = store.arrays.write({"a": np.ones(3)}, None), store.arrays.write({"a": np.ones(3)}, "edit")
    elsewhere = SnapshotFiles(store.arrays, "g", Clock(), KEPT)
    of_another_log = [elsewhere.replace(bytes(range(n))).file.sha256 for n in (1, 2)]
    files = SnapshotFiles(store.arrays, "g", Clock(), KEPT)
    write(log, 1, files.replace)
    kept = store.arrays.names()
    orphan = files.replace(b"killed before the transaction").file.sha256
    found = read_snapshot(log, "g", store.arrays)
    assert found is not None
    again = SnapshotFiles(store.arrays, "g", Clock(), KEPT)
    again.restore(found.files)
    assert store.arrays.names() == kept
    assert orphan not in kept and {*of_another_log, *(other.sha256 for other in others)} < set(kept)


def test_a_record_that_names_files_of_others_removes_none(log: MemoryLog, store: AdaptersStore) -> None:
    clock, others = Clock(), store.arrays.write({"a": np.ones(3)}, "edit")
    files = SnapshotFiles(store.arrays, "g", clock, KEPT)
    newest = files.replace(b"state").file.sha256
    files.restore([newest, others.sha256])
    clock.now = 2 * KEPT
    files.replace(b"next")
    assert others.sha256 in store.arrays.names()
    for hostile in (["../../x"], "x", [5], None):
        (out,) = snapshot_outputs("g", snapshot(1), 1.0, files.replace)
        with log.producer("g").transaction() as transaction:
            value = {**(out.value or {}), "superseded": hostile}  # type: ignore[dict-item]
            transaction.send(TREND, value, key="g/00000", timestamp=1.0)
        with pytest.raises(LogError, match="damaged"):
            read_snapshot(log, "g", store.arrays)


def test_a_reader_whose_file_is_gone_meanwhile_reads_the_newer_snapshot(
    log: MemoryLog, store: AdaptersStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = SnapshotFiles(store.arrays, "g", Clock(), KEPT)
    write(log, 1, files.replace)
    first, whole = store.arrays.names(), store.arrays.read

    def overtaken(file: Any) -> Any:
        if store.arrays.remove(first):
            write(log, 2, files.replace)
        return whole(file)

    monkeypatch.setattr(store.arrays, "read", overtaken)
    assert same(read_snapshot(log, "g", store.arrays), snapshot(2))


@pytest.mark.parametrize("damage", [Path.unlink, partial(Path.write_bytes, data=b"x")])
def test_a_file_that_is_missing_or_damaged_is_an_error_that_names_it(
    log: MemoryLog, store: AdaptersStore, damage: Callable[[Path], None]
) -> None:
    write(log, 1, SnapshotFiles(store.arrays, "g", Clock(), KEPT).replace)
    (name,) = store.arrays.names()
    damage(Path(store.root) / "arrays" / f"{name}.safetensors")
    with pytest.raises(LogError, match=f"trend of gate g is damaged.*arrays/{name}.safetensors.*restore the file"):
        read_snapshot(log, "g", store.arrays)


# --- a gate -----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def run(open_log: Callable[[], SqliteLog], folder: Path, at: Callable[[Point], None]) -> None:
    settings = changed(consumers={"snapshot_events": 20, "backoff": 0.01, "longest_backoff": 0.02})
    gate_loop(open_log, folder, settings, at=at).run()


def scored(open_log: Callable[[], SqliteLog]) -> list[dict[str, Any]]:
    return [{**event, "user_id": ""} for event in gated(open_log())]


@pytest.fixture
def by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "LARGEST_INLINE", 0)


STEPS = ("arrays.written", "arrays.verified", "arrays.renamed")


@pytest.mark.usefixtures("by_file")
@pytest.mark.parametrize("where", [*STEPS, Point.HANDLED, Point.PUBLISHING, Point.COMMITTING, Point.COMMITTED])
def test_a_gate_killed_anywhere_restores_its_second_stage_to_the_bit(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opener(name: str) -> Callable[[], SqliteLog]:
        fill(SqliteLog(tmp_path / f"{name}.sqlite"), [said(event) for event in events()[1][:90]])
        return lambda: SqliteLog(tmp_path / f"{name}.sqlite", lease=0.5)

    whole, killed = opener("whole"), opener("killed")
    run(whole, tmp_path / "whole", lambda _: None)
    deaths = iter(range(10))

    def kill(at: str) -> None:
        # While the second snapshot is being written: the first one has no file to replace.
        if at == where and len(read(killed(), TREND)) == 1 and next(deaths) == 0:
            raise Killed

    if where in STEPS:
        made = AdaptersStore.__init__
        monkeypatch.setattr(AdaptersStore, "__init__", lambda self, root: made(self, root, checkpoint=kill))
    with pytest.raises(Killed):
        run(killed, tmp_path / "killed", kill)
    run(killed, tmp_path / "killed", lambda _: None)
    assert scored(killed) == scored(whole)
    store = AdaptersStore(tmp_path / "killed" / "adapters")
    found, expected = (
        read_snapshot(open_log(), "g", AdaptersStore(tmp_path / name / "adapters").arrays)
        for name, open_log in (("killed", killed), ("whole", whole))
    )
    assert found is not None and expected is not None
    assert found.events == expected.events
    assert all(np.array_equal(found.arrays[name], array) for name, array in expected.arrays.items())
    assert store.arrays.names() == sorted(found.files), "no orphan is left"
    assert len(read(killed(), GATED)) == 90


@pytest.mark.usefixtures("by_file")
def test_a_gate_whose_disk_is_full_goes_on_when_there_is_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(SqliteLog(tmp_path / "log.sqlite"), [said(event) for event in events()[1][:60]])
    replace, failures = SnapshotFiles.replace, iter([True, True])

    def full(self: SnapshotFiles, state: bytes) -> StateFile:
        if next(failures, False):
            raise StoreError("No space left on device")
        return replace(self, state)

    monkeypatch.setattr(SnapshotFiles, "replace", full)
    run(lambda: SqliteLog(tmp_path / "log.sqlite", lease=0.5), tmp_path, lambda _: None)
    assert len(gated(SqliteLog(tmp_path / "log.sqlite"))) == 60
