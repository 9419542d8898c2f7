"""Monitor and trainers where windows are deleted, versions are left behind, and processes die."""

import copy
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from adapters_store import AdaptersStore, parse_version_name, version_name
from consumers.runtime.supervisor import Supervisor
from consumers.trainer.job import JobRunner
from consumers.trainer.orphans import collect_orphans
from consumers.trainer.rerun import rerun
from pipeline.config import CanarySettings
from pipeline.errors import RaieError
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.gated import read_events
from pipeline.events.item_status import EVICTED, ItemStatus
from pipeline.models.lora.moved_items import moved_items
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.streams import FencedError, MemoryLog, RecordsLostError
from pipeline.streams.topics import EDITS, GATED, ITEMS, OUTCOMES, REGIONS, pipeline_topics
from tests.consumers.recorded import World, monitor_loop
from tests.consumers.run_of_raie import SETTINGS, the_run, the_setup
from tests.consumers.test_monitor_stage import lockstep
from tests.replay.small import dataset


@pytest.fixture
def log() -> MemoryLog:
    return gated_log()


def gated_log() -> MemoryLog:
    """Log with the items and the gated records of the replay."""
    log = MemoryLog()
    log.create_topics(pipeline_topics(4))
    with log.producer("gate").transaction() as transaction:
        for item in dataset().items.values():
            transaction.send(ITEMS, item.to_record(), key=item.item_id, partition=0, timestamp=0.0)
        for record in the_run().gated:
            transaction.send(GATED, record.value, key=record.key, partition=0, timestamp=record.timestamp)
    return log


def setup() -> SetUp:
    return replace(the_setup(), backbone=copy.deepcopy(the_setup().backbone))


def first(operation: Operation) -> Edit:
    return next(edit for edit, outcome in the_run().ledger if edit.operation is operation and outcome.published)


def first_add() -> Edit:
    return first(Operation.ADD)


@pytest.mark.parametrize("operation", [Operation.ADD, Operation.INJECT])
def test_an_edit_applied_twice_finds_its_own_version_in_the_store(
    log: MemoryLog, tmp_path: Path, operation: Operation
) -> None:
    # As after a kill between store and log: another trainer applies the edit anew.
    edit, store = first(operation), AdaptersStore(tmp_path)
    results = [JobRunner(setup(), SETTINGS, log, store).apply(edit, 0) for _ in range(2)]
    assert results[0][0] == results[1][0]
    revisions = [revision.to_record() for _, revision in results if revision is not None]
    assert len(revisions) == 2 and revisions[0] == revisions[1]
    assert store.names() == [results[0][0].version]
    assert results[0][0] == next(outcome for other, outcome in the_run().ledger if other == edit)


def put_in_force(log: MemoryLog, edit: Edit, outcome: Outcome, revision: Revision | None) -> None:
    """Write an edit with its outcome and revision, as a monitor and a trainer do."""
    with log.producer("all").transaction() as transaction:
        transaction.send(EDITS, edit.to_record(), key=str(edit.region_id), timestamp=0.0)
        transaction.send(OUTCOMES, outcome.to_record(), key=edit.edit_id, timestamp=0.0)
        if revision is not None:
            transaction.send(REGIONS, revision.to_record(), key=str(edit.region_id), timestamp=0.0)


def ledger_until_an_inject_after(operation: Operation) -> tuple[list[Edit], Edit, Edit]:
    """Published edits before the last one of an operation that precedes the first Inject, that one, and the Inject."""
    edits = [edit for edit, outcome in the_run().ledger if outcome.published]
    first_inject = next(i for i, edit in enumerate(edits) if edit.operation is Operation.INJECT)
    place = max(i for i, edit in enumerate(edits[:first_inject]) if edit.operation is operation)
    return edits[:place], edits[place], edits[first_inject]


@pytest.mark.parametrize("operation", [Operation.ADD, Operation.UPDATE])
def test_an_edit_whose_first_attempt_left_another_version_takes_the_next_number(
    log: MemoryLog, tmp_path: Path, operation: Operation
) -> None:
    # A trainer dies between store and log, and before the edit is applied anew items are injected: it trains from them.
    before, edit, inject = ledger_until_an_inject_after(operation)
    store = AdaptersStore(tmp_path)
    for one in before:
        put_in_force(log, one, *JobRunner(setup(), SETTINGS, log, store).apply(one, log.end_offset(REGIONS, 0)))
    left, _ = JobRunner(setup(), SETTINGS, log, store).apply(edit, log.end_offset(REGIONS, 0))
    put_in_force(log, inject, *JobRunner(setup(), SETTINGS, log, store).apply(inject, log.end_offset(REGIONS, 0)))
    outcome, revision = JobRunner(setup(), SETTINGS, log, store).apply(edit, log.end_offset(REGIONS, 0))
    assert left.version is not None and outcome.version is not None and revision is not None
    region_id, number = parse_version_name(left.version)
    assert outcome.version == version_name(region_id, number + 1)
    changed = next(region for region in revision.regions if region.region_id == region_id)
    assert (changed.adapter, changed.version) == (outcome.version, number + 1)
    put_in_force(log, edit, outcome, revision)
    assert collect_orphans(log, store) == [left.version]
    assert rerun(edit, setup(), SETTINGS, log, tmp_path).alike


def test_an_opened_region_that_was_rolled_back_to_the_backbone_leaves_the_gate_when_it_ends(
    log: MemoryLog, tmp_path: Path
) -> None:
    add, store, made = first_add(), AdaptersStore(tmp_path), setup()
    outcome, opening = JobRunner(setup(), SETTINGS, log, store).apply(add, 0)
    assert opening is not None
    put_in_force(log, add, outcome, opening)
    bank = opening.after(made.bank)
    bare = replace(bank[add.region_id], version=2, adapter=None)
    back = Revision.of(bank.changed(bare), (bare,), moved=False, rollback_of=outcome.version, restored=0)
    with log.producer("operator").transaction() as transaction:
        transaction.send(REGIONS, back.to_record(), key=str(add.region_id), timestamp=0.0)
    ending = replace(add, operation=Operation.RETIRE, base_version=2, base_gate=bank.gate_version, windows=())
    outcome, revision = JobRunner(setup(), SETTINGS, log, store).apply(ending, log.end_offset(REGIONS, 0))
    assert outcome.published and revision is not None
    assert revision.after(bank.changed(bare)).stream == ()


def test_an_inject_whose_number_is_taken_takes_the_next(log: MemoryLog, tmp_path: Path) -> None:
    edit, store = first(Operation.INJECT), AdaptersStore(tmp_path)
    store.reserve([version_name(0, 1)])
    outcome, revision = JobRunner(setup(), SETTINGS, log, store).apply(edit, 0)
    assert outcome.version == version_name(0, 2) and revision is not None and revision.injection is not None
    assert (revision.injection.version, revision.injection.names) == (2, (outcome.version,))
    put_in_force(log, edit, outcome, revision)
    assert rerun(edit, setup(), SETTINGS, log, tmp_path).alike


def test_injected_versions_are_no_orphans_while_a_revision_names_them(log: MemoryLog, tmp_path: Path) -> None:
    edit, store = first(Operation.INJECT), AdaptersStore(tmp_path)
    outcome, revision = JobRunner(setup(), SETTINGS, log, store).apply(edit, 0)
    assert revision is not None
    with log.producer("trainer").transaction() as transaction:
        transaction.send(OUTCOMES, outcome.to_record(), key=edit.edit_id, timestamp=0.0)
        transaction.send(REGIONS, revision.to_record(), key="0", timestamp=0.0)
    assert collect_orphans(log, store) == []
    assert rerun(edit, setup(), SETTINGS, log, tmp_path).alike


def test_items_that_change_or_go_before_they_are_injected_stay_part_of_it(log: MemoryLog, tmp_path: Path) -> None:
    edit = first(Operation.INJECT)
    changed, gone, evicted = edit.items[:3]
    with log.producer("shop").transaction() as transaction:
        transaction.send(ITEMS, {"item_id": changed, "text": "Another text"}, key=changed, partition=0, timestamp=1.0)
        transaction.send(ITEMS, None, key=gone, partition=0, timestamp=1.0)
        status = ItemStatus(evicted, EVICTED, 1.0, 10_000)
        transaction.send(ITEMS, status.to_record(), key=status.key, partition=0, timestamp=1.0)
    outcome, _ = JobRunner(setup(), SETTINGS, log, AdaptersStore(tmp_path)).apply(edit, 0)
    before = next(outcome for other, outcome in the_run().ledger if other == edit)
    assert outcome.validation is not None and before.validation is not None
    assert outcome.validation["windows"] == before.validation["windows"]
    assert outcome.validation != before.validation, "the new text was read"


def test_items_that_change_or_go_before_an_edit_trains_stay_part_of_it(log: MemoryLog, tmp_path: Path) -> None:
    events = read_events(log, first_add().windows, the_setup().catalogue.item_ids)
    taken = sorted({event.target for event in events} - set(the_setup().catalogue.item_ids))
    changed, gone = taken[:2]
    with log.producer("shop").transaction() as transaction:
        transaction.send(ITEMS, {"item_id": changed, "text": "Another text"}, key=changed, partition=0, timestamp=1.0)
        transaction.send(ITEMS, None, key=gone, partition=0, timestamp=1.0)
    store = AdaptersStore(tmp_path)
    outcome, revision = JobRunner(setup(), SETTINGS, log, store).apply(first_add(), 0)
    assert outcome.published and revision is not None and outcome.version is not None
    loaded = store.load(outcome.version, backbone_sha256=the_setup().backbone_sha256)
    assert {changed, gone} <= set(moved_items(outcome.version, loaded.config, ()))
    before = next(outcome for edit, outcome in the_run().ledger if edit == first_add())
    assert outcome.validation != before.validation, "the new text was read"


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_revision_says_for_how_many_users_it_is_first(log: MemoryLog, tmp_path: Path, share: float) -> None:
    settings = SETTINGS.model_copy(update={"canary": CanarySettings(share=share)})
    _, revision = JobRunner(setup(), settings, log, AdaptersStore(tmp_path)).apply(first_add(), 0)
    assert revision is not None
    assert revision.canary == share


def test_an_edit_whose_windows_are_gone_is_rejected_and_names_them(log: MemoryLog, tmp_path: Path) -> None:
    offsets = sorted(e.offset for e in first_add().windows)
    log.delete_before(GATED, 0, offsets[5])
    outcome, revision = JobRunner(setup(), SETTINGS, log, AdaptersStore(tmp_path)).apply(first_add(), 0)
    assert (outcome.published, revision) == (False, None)
    assert f"offsets {offsets[0]}..{offsets[4]} of gated/0 are already deleted" in outcome.detail
    assert AdaptersStore(tmp_path).names() == []


def test_a_monitor_that_fell_behind_retention_stops_and_names_what_it_lost(log: MemoryLog) -> None:
    log.delete_before(GATED, 0, 70)
    world = World(log, the_run(), lockstep())
    with pytest.raises(RecordsLostError, match=r"group monitor lost offsets 0\.\.69 of gated/0"):
        group = log.consumer("monitor", (GATED,), "m")
        group.poll(1, 0.0)
        group.seek(GATED, 0, 0)
        with log.producer("m").transaction() as transaction:
            transaction.commit_offsets(group)
        monitor_loop(world, lockstep(), lambda: log).run()


def test_orphans_go_when_their_edit_has_ended_without_them(log: MemoryLog, tmp_path: Path) -> None:
    store = AdaptersStore(tmp_path)
    outcome, _ = JobRunner(setup(), SETTINGS, log, store).apply(first_add(), 0)
    shutil.copytree(tmp_path / str(outcome.version), tmp_path / ".tmp-r0009_v0001-abcdef")
    assert collect_orphans(log, store) == [".tmp-r0009_v0001-abcdef"]
    assert store.names() == [outcome.version]
    with log.producer("trainer").transaction() as transaction:
        transaction.send(OUTCOMES, {"published": False}, key=first_add().edit_id, timestamp=0.0)
    assert collect_orphans(log, store) == [outcome.version]
    assert store.names() == []


def test_a_stage_that_dies_is_started_again_and_all_end_together(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    dying = [sys.executable, "-c", f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)"]
    lasting = [sys.executable, "-c", "import time; time.sleep(600)"]
    stop, said = Event(), []
    supervisor = Supervisor({"dying": dying, "lasting": lasting}, time.monotonic)
    running = Thread(target=supervisor.run, args=(stop, lambda states: said.append(dict(states)), 0.02))
    running.start()
    while not (starts.exists() and len(starts.read_text()) >= 3):
        time.sleep(0.02)
    stop.set()
    running.join(60)
    assert not running.is_alive()
    assert any("ended with code 3, starts again" in states["dying"] for states in said)
    assert {states["lasting"] for states in said} == {said[0]["lasting"]}
    process = supervisor._processes["lasting"].process
    assert process is not None
    assert process.returncode == -signal.SIGTERM


def test_a_process_has_the_variables_that_are_given_unless_the_user_has_set_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_USER", "theirs")
    seen, stop = tmp_path / "seen", Event()
    words = f"import os; open({str(seen)!r}, 'a').write(os.environ['OF_THE_USER'] + os.environ['GIVEN'] + ' ')"
    commands = {"one": [sys.executable, "-c", words]}
    supervisor = Supervisor(commands, time.monotonic, {"OF_THE_USER": "ours", "GIVEN": "given"})
    running = Thread(target=supervisor.run, args=(stop, lambda _: None, 0.02))
    running.start()
    while not (seen.exists() and seen.read_text().endswith(" ")):
        time.sleep(0.02)
    stop.set()
    running.join(60)
    assert set(seen.read_text().split()) == {"theirsgiven"}


def test_a_stage_that_others_of_its_name_replace_again_and_again_gives_way() -> None:
    fenced = f"import sys; sys.exit({FencedError.exit_status})"
    supervisor = Supervisor({"gate-0": [sys.executable, "-c", fenced]}, FastClock())
    with pytest.raises(RaieError, match="stop the other `raie up`"):
        supervisor.run(Event(), lambda _: None, 0.01)


def test_a_stage_that_is_not_wanted_any_more_ends_and_one_that_is_new_starts() -> None:
    lasting = [sys.executable, "-c", "import time; time.sleep(600)"]
    stop, said = Event(), []
    supervisor = Supervisor({"gate-0": lasting}, time.monotonic)
    running = Thread(target=supervisor.run, args=(stop, lambda states: said.append(dict(states)), 0.02))
    running.start()
    while not said:
        time.sleep(0.02)
    gone = supervisor._processes["gate-0"].process
    supervisor.keep({"gate-0.2": lasting})
    while "gate-0.2" not in said[-1]:
        time.sleep(0.02)
    stop.set()
    running.join(60)
    assert gone is not None and gone.wait(60) == -signal.SIGTERM
    assert [*said[-1]] == ["gate-0.2"]


class FastClock:
    """Monotonic seconds that pass fast enough for every pause."""

    def __call__(self) -> float:
        return 20.0 * time.monotonic()
