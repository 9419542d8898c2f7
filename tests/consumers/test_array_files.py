"""Revisions with arrays in files, from trainer to gate and monitor: as with arrays in records, kills included."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adapters_store import AdaptersStore
from consumers.runtime.health import LoopHealth
from consumers.runtime.ledger import arrays_ever_named
from consumers.runtime.loop import Loop
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.stage import Point
from consumers.runtime.topic_reader import new_records, value_of
from consumers.trainer import worker
from consumers.trainer.child_process import TrainingChild
from consumers.trainer.job import JobRunner
from consumers.trainer.orphans import collect_orphans
from consumers.trainer.rerun import rerun
from consumers.trainer.stage import TrainerStage
from pipeline.regions import revision_arrays
from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import by_reference, resolved
from pipeline.streams import Log, MemoryLog, SqliteLog, UnavailableError
from pipeline.streams.interface import OversizeError
from pipeline.streams.topics import EDITS, OUTCOMES, REGIONS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.consumers.gating import changed, events, fill, gate_loop, gated, said
from tests.consumers.recorded import World, monitor_loop
from tests.consumers.run_of_raie import SETTINGS, Run, run_of, the_run, the_setup
from tests.consumers.test_faults import first_add, gated_log, setup
from tests.consumers.test_monitor_stage import lockstep
from tests.regions.wide import add, bank, update
from tests.replay.small import plan

WIDE = 4_096


@pytest.fixture(autouse=True)
def by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array is in a file, but in the recorded run."""
    the_run()
    monkeypatch.setattr(revision_arrays, "LARGEST_INLINE", 0)


@pytest.fixture
def log() -> MemoryLog:
    return gated_log()


@pytest.fixture
def store(tmp_path: Path) -> AdaptersStore:
    return AdaptersStore(tmp_path / "adapters")


def with_files(store: AdaptersStore) -> list[Mapping[str, Any]]:
    """Revisions of the recorded run, each with its arrays in a file of a store."""
    found = []
    for record in the_run().regions:
        value = by_reference(Revision.from_record(value_of(record)), store.arrays).to_record()
        found.append(value | {"edit_id": value_of(record)["edit_id"]})
    return found


def send(log: Log, topic: str, *values: Mapping[str, Any], key: str = "4") -> None:
    with log.producer("somebody").transaction() as transaction:
        for value in values:
            transaction.send(topic, value, key=key, timestamp=0.0)


def hide(store: AdaptersStore, sha256: str) -> Callable[[], Path]:
    """Take a file away; return the function that puts it back."""
    path = Path(store.root) / "arrays" / f"{sha256}.safetensors"
    elsewhere = Path(store.root).parent / "hidden"
    path.rename(elsewhere)
    return lambda: shutil.move(elsewhere, path)


# --- following --------------------------------------------------------------------------------------------


def test_a_reader_waits_before_a_revision_whose_file_is_missing(log: MemoryLog, store: AdaptersStore) -> None:
    values = with_files(store)
    send(log, REGIONS, *values)
    named = [i for i, value in enumerate(values) if "arrays" in value]
    follower = RevisionFollower(the_setup().bank, store.arrays, unreported)
    restore = hide(store, values[named[1]]["arrays"]["sha256"])
    seen: list[int] = []
    for _ in range(2):
        with pytest.raises(UnavailableError, match=f"offset {named[1]} cannot take effect: .*restore the file"):
            seen += [offset for offset, _ in follower.poll(log)]
            pytest.fail("it was skipped")
    assert follower.next_revision == named[1]
    restore()
    rest = list(follower.poll(log))
    assert [offset for offset, _ in rest] == list(range(named[1], len(values)))
    bank = the_setup().bank
    for _, revision in RevisionFollower(the_setup().bank, store.arrays, unreported).poll(log):
        bank = revision.after(bank)
    assert bank.origins.to_record() == last_bank().origins.to_record()
    assert [r.to_record() for r in bank.regions] == [r.to_record() for r in last_bank().regions]


def last_bank() -> RegionBank:
    """The regions at the end of the recorded run."""
    bank = the_setup().bank
    for record in the_run().regions:
        bank = Revision.from_record(value_of(record)).after(bank)
    return bank


def test_a_gate_scores_as_with_arrays_in_records_and_waits_for_a_missing_file(
    tmp_path: Path, store: AdaptersStore
) -> None:
    shutil.copytree(the_adapters(), store.root, dirs_exist_ok=True)
    stream = [said(event) for event in events()[1][:60]]
    found = []
    for name, values in (("inline", [value_of(r) for r in the_run().regions]), ("files", with_files(store))):

        def open_log(name: str = name) -> SqliteLog:
            return SqliteLog(tmp_path / f"{name}.sqlite", lease=1.0)

        fill(open_log(), stream)
        send(open_log(), REGIONS, *values)
        restored = [] if name == "inline" else [hide(store, values[0]["arrays"]["sha256"])]
        polls = 0

        def at(point: Point, restored: list[Callable[[], Path]] = restored) -> None:
            nonlocal polls
            polls += point is Point.POLLED
            if polls == 4 and restored:
                restored.pop()()

        gate_loop(open_log, tmp_path, changed(consumers={"backoff": 0.01, "longest_backoff": 0.02}), at=at).run()
        assert not restored
        found.append([{**event, "user_id": ""} for event in gated(open_log())])
    assert found[0] == found[1]
    assert len(found[0]) == 60
    assert any(event["route"] for event in found[0])


def the_adapters() -> Path:
    return Path(the_run().folder) / "adapters"


def test_a_monitor_decides_as_with_arrays_in_records(tmp_path: Path, store: AdaptersStore) -> None:
    log, values = SqliteLog(tmp_path / "log.sqlite"), with_files(store)
    records = [replace(record, value=value) for record, value in zip(the_run().regions, values, strict=True)]
    run = Run(the_run().ledger, the_run().gated, the_run().outcomes, records, {}, the_run().folder)
    world = World(log, run, lockstep())
    monitor_loop(world, lockstep(), lambda: SqliteLog(tmp_path / "log.sqlite"), store=store).run()
    assert sorted(world.edits()) == sorted(edit.edit_id for edit, _ in the_run().ledger)
    assert any("arrays" in value_of(record) for record in new_records(log, REGIONS, 0))


# --- a replay ---------------------------------------------------------------------------------------------


def test_a_replay_with_arrays_in_files_has_the_same_ledger(tmp_path: Path) -> None:
    run = run_of(the_setup(), SETTINGS, plan().setup, plan().stream, tmp_path)
    assert run.ledger == the_run().ledger
    assert [record.value for record in run.gated] == [record.value for record in the_run().gated]
    files = AdaptersStore(tmp_path / "adapters").arrays
    revisions = [resolved(Revision.from_record(value_of(record)), files).to_record() for record in run.regions]
    assert revisions == [record.value for record in the_run().regions]
    assert files.names()


# --- the trainer ------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


class InProcess(TrainingChild):
    """Carries out jobs in this process, as the child does."""

    def __init__(self, log: Log, store: AdaptersStore) -> None:
        super().__init__({})
        self._runner, self._files = JobRunner(setup(), SETTINGS, log, store), store.arrays
        self._results: list[Mapping[str, Any]] = []

    def begin(self, job: Mapping[str, Any]) -> None:
        self._results = [json.loads(json.dumps(worker._result(self._runner, self._files, job)))]

    def result(self) -> Mapping[str, Any] | None:
        if self._results and "failed" in self._results[0]:
            raise UnavailableError(self._results.pop()["failed"])
        return self._results.pop() if self._results else None

    def stop(self) -> None:
        self._results = []


def train(log: Log, store: AdaptersStore, at: Callable[[Point], None]) -> None:
    """Run a trainer, which first removes orphans, until its edits have outcomes."""
    collect_orphans(log, store)
    stop = Event()

    def until_done(point: Point) -> None:
        at(point)
        if log.end_offset(OUTCOMES, 0):
            stop.set()

    metrics = Metrics(CollectorRegistry())
    stage = TrainerStage(InProcess(log, store), metrics, at)
    settings = changed(consumers={"backoff": 0.01, "longest_backoff": 0.02, "poll_timeout": 0.001}).consumers
    Loop(stage, lambda: log, "t", settings, 1, stop, LoopHealth(metrics, lambda: 0.0, lambda _: None), until_done).run()


STEPS = ("arrays.written", "arrays.synced", "arrays.verified", "arrays.renamed")


@pytest.mark.parametrize("where", [*STEPS, Point.SAVING, Point.PUBLISHING, Point.COMMITTING, Point.COMMITTED])
def test_a_trainer_killed_anywhere_publishes_once_and_leaves_no_orphan(
    log: MemoryLog, tmp_path: Path, where: str
) -> None:
    send(log, EDITS, first_add().to_record())

    def kill(at: str) -> None:
        if at == where:
            raise Killed

    root = tmp_path / "adapters"
    with pytest.raises(Killed):
        train(log, AdaptersStore(root, checkpoint=kill), kill)
    store = AdaptersStore(root)
    assert len(new_records(log, REGIONS, 0)) == (where is Point.COMMITTED)
    train(log, store, lambda _: None)
    assert collect_orphans(log, store) == []
    (record,) = new_records(log, REGIONS, 0)
    assert [outcome.key for outcome in new_records(log, OUTCOMES, 0)] == [first_add().edit_id]
    assert store.arrays.names() == [value_of(record)["arrays"]["sha256"]] == sorted(arrays_ever_named(log))
    assert sorted(path.name for path in root.iterdir()) == ["arrays", *store.names()]
    expected = next(r for r in the_run().regions if value_of(r)["edit_id"] == first_add().edit_id)
    found = resolved(Revision.from_record(value_of(record)), store.arrays)
    assert found.to_record()["regions"] == value_of(expected)["regions"]
    assert found.to_record()["origins"] == value_of(expected)["origins"]


def test_a_trainer_whose_disk_is_full_tries_again(
    log: MemoryLog, store: AdaptersStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(log, EDITS, first_add().to_record())
    write, failures = store.arrays._backend.write_array_file, iter([True, True])

    def full(*given: Any) -> None:
        if next(failures, False):
            raise OSError(28, "No space left on device")
        write(*given)

    monkeypatch.setattr(store.arrays._backend, "write_array_file", full)
    train(log, store, lambda _: None)
    assert len(store.arrays.names()) == len(new_records(log, REGIONS, 0)) == 1


def test_a_trainer_goes_on_when_a_missing_file_is_back(log: MemoryLog, store: AdaptersStore) -> None:
    shutil.copytree(the_adapters(), store.root, dirs_exist_ok=True)
    values = with_files(store)
    send(log, REGIONS, *values)
    runner = JobRunner(setup(), SETTINGS, log, store)
    job = {"edit": {**first_add().to_record(), "windows": []}, "next_revision": len(values)}
    restore = hide(store, values[-1]["arrays"]["sha256"])
    for _ in range(2):
        failed = worker._result(runner, store.arrays, job)
        assert f"regions/0 at offset {len(values) - 1} cannot take effect" in failed["failed"]
    restore()
    assert "outcome" in worker._result(runner, store.arrays, job)
    assert runner._bank.origins.to_record() == last_bank().origins.to_record()


def test_files_go_when_their_edit_has_ended_without_them(log: MemoryLog, store: AdaptersStore) -> None:
    revision = add(bank(WIDE), WIDE)
    orphan = by_reference(revision, store.arrays).to_record()["arrays"]["sha256"]
    kept = by_reference(update(revision.after(bank(WIDE)), 4), store.arrays)
    rolled_back = store.arrays.write({"centroid.4": revision.regions[0].centroid}, None).sha256
    send(log, REGIONS, kept.to_record())
    assert collect_orphans(log, store) == []
    send(log, OUTCOMES, {"published": True}, key=str(kept.edit_id))
    assert collect_orphans(log, store) == [], "its revision names the file"
    send(log, OUTCOMES, {"published": False}, key=str(revision.edit_id))
    assert collect_orphans(log, store) == [f"arrays/{orphan}"]
    assert kept.arrays is not None
    assert store.arrays.names() == sorted([kept.arrays.sha256, rolled_back])


def test_an_edit_carried_out_again_is_compared_array_by_array(log: MemoryLog, tmp_path: Path) -> None:
    edit, store = first_add(), AdaptersStore(tmp_path)
    job = {"edit": edit.to_record(), "next_revision": 0}
    result = worker._result(JobRunner(setup(), SETTINGS, log, store), store.arrays, job)
    send(log, OUTCOMES, result["outcome"], key=edit.edit_id)
    send(log, REGIONS, result["revision"])
    assert "arrays" in result["revision"]
    assert rerun(edit, setup(), SETTINGS, log, tmp_path).alike


# --- the size of a record ---------------------------------------------------------------------------------


def test_wide_regions_do_not_fit_into_records_and_fit_by_reference(
    tmp_path: Path, store: AdaptersStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    log, now = SqliteLog(tmp_path / "wide.sqlite"), bank(WIDE)
    log.create_topics(pipeline_topics(2))
    for _ in range(12):
        revision = add(now, WIDE)
        send(log, REGIONS, by_reference(revision, store.arrays).to_record())
        now = revision.after(now)
    with pytest.raises(OversizeError):
        send(log, REGIONS, revision.to_record())
    follower = RevisionFollower(bank(WIDE), store.arrays, unreported)
    assert [offset for offset, _ in follower.poll(log)] == list(range(12))
