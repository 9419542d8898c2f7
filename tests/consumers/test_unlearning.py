"""Unlearning: what was trained with the windows of a user is trained anew from a ledger without them.

RAIE_SOAK=1 unlearns 20 users, each from the whole ledger, as `make soak` does.
"""

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from adapters_store import AdaptersStore
from consumers.erasure.purge import Purge
from consumers.erasure.unlearning import Answers, cost_of
from consumers.runtime.ledger import adapters_ever_live, destroyed_versions
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.server.rollback import plan_rollback, roll_back
from consumers.trainer.job import JobRunner
from consumers.trainer.orphans import collect_orphans
from consumers.trainer.rerun import rerun
from consumers.trainer.rewritten_ledger import read_ledger
from pipeline.errors import DataError, LogError
from pipeline.events.edit import Operation, Outcome
from pipeline.events.erasure import erasure_key
from pipeline.events.unlearning import ForgottenWindows, windows_of_requests
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Status
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import by_reference, resolved
from pipeline.regions.unlearned import Replacement, Unlearned
from pipeline.setup.storage import save_setup
from pipeline.streams import Log, MemoryLog, SqliteLog
from pipeline.streams.topics import EDITS, GATED, OUTCOMES, REGIONS, USERS
from tests.consumers.ledgers import carry_out, copy_of_store, ledger_log, request_unlearning, weights, without_users
from tests.consumers.run_of_raie import SETTINGS, Run, everything, the_run, the_setup

LONG = bool(os.environ.get("RAIE_SOAK"))
ACTIVE = "u00032"
"""The user with the most windows; nearly every version rests on some."""
LATE = "u00034"
"""A user whose windows the first versions do not rest on."""


def short_run() -> Run:
    """The first edits of the run, published and rejected."""
    run = the_run()
    ledger = [(edit, outcome) for edit, outcome in run.ledger if edit.at_event <= 512]
    ids = {edit.edit_id for edit, _ in ledger}
    regions = [record for record in run.regions if record.value and record.value["edit_id"] in ids]
    versions = {outcome.version for _, outcome in ledger if outcome.version}
    outcomes = [record for record in run.outcomes if record.key in ids]
    kept = {name: raw for name, raw in run.versions.items() if name in versions}
    return replace(run, ledger=ledger, outcomes=outcomes, regions=regions, versions=kept)


def users() -> list[str]:
    """Users to unlearn one by one: 20 random ones of the stream, or one."""
    everyone = sorted({str(record.key) for record in the_run().gated}) if LONG else [LATE]
    return np.random.default_rng(0).permutation(everyone).tolist()[:20]


@pytest.fixture
def log() -> Log:
    return ledger_log(short_run())


@pytest.fixture
def store(tmp_path: Path) -> AdaptersStore:
    return copy_of_store(short_run(), tmp_path / "adapters")


@pytest.mark.parametrize("user", users())
def test_each_of_many_users_is_unlearned_to_the_byte(tmp_path: Path, user: str) -> None:
    run = the_run() if LONG else short_run()
    log, store = ledger_log(run), copy_of_store(run, tmp_path / "adapters")
    carry_out(log, store, request_unlearning(log, user))
    assert_as_without(run, [user], log, store, tmp_path / "reference")


def test_two_users_one_after_the_other_leave_what_a_ledger_without_both_has(
    log: Log, store: AdaptersStore, tmp_path: Path
) -> None:
    outcome, revision = carry_out(log, store, request_unlearning(log, LATE))
    assert outcome.published and revision is not None and revision.unlearned is not None
    assert set(revision.unlearned.replaced) < set(short_run().versions), "clean versions stay"
    carry_out(log, store, request_unlearning(log, ACTIVE))
    assert_as_without(short_run(), [LATE, ACTIVE], log, store, tmp_path / "both")


def assert_as_without(run: Run, gone: Sequence[str], log: Log, store: AdaptersStore, folder: Path) -> None:
    """Compare with a ledger that never held the windows of users: weights to the byte, regions to the bit."""
    expected, bank = without_users(run, gone, folder)
    standing = {name: Replacement(name, 1.0) for name in run.versions} | destroyed_versions(log)
    assert {name: by and weights(store, by.adapter) for name, by in standing.items() if name in expected} == expected
    found = bank_of(log, store)
    assert [r.region_id for r in found.live] == [r.region_id for r in bank.live]
    for one, other in zip(found.live, bank.live, strict=True):
        assert (one.radius, one.concentration, one.prior) == (other.radius, other.concentration, other.prior)
        assert one.adapter_weight == other.adapter_weight
        np.testing.assert_array_equal(one.centroid, other.centroid)
        assert (one.adapter is None) == (other.adapter is None)
    np.testing.assert_array_equal(found.origins.weights, bank.origins.weights)


def bank_of(log: Log, store: AdaptersStore) -> RegionBank:
    bank = the_setup().bank
    for _, revision in RevisionFollower(bank, store.arrays, unreported).poll(log):
        bank = revision.after(bank)
    return bank


def test_nothing_is_trained_and_nothing_changes_where_no_window_is_missing(log: Log, store: AdaptersStore) -> None:
    runner = JobRunner(copy.deepcopy(the_setup()), SETTINGS, log, store)
    runner._items.poll(log)
    steps = read_ledger(log, the_setup().bank, store.arrays, log.end_offset(REGIONS, 0))
    # Every edit may rest on a window that is gone, and all of them are still there.
    unlearn, nothing = request_unlearning(log, "nobody"), ForgottenWindows((), complete=False)
    outcome, revision = runner._unlearner.apply(unlearn, steps, nothing, kept_from=10**9)
    assert revision.unlearned is not None and revision.unlearned.replaced == {}
    assert (outcome.trained_windows, revision.regions, revision.origins, revision.injection) == (0, (), None, None)
    assert set(store.names()) == set(short_run().versions) | set(the_run().versions)


def test_a_user_without_windows_in_any_edit_costs_nothing(log: Log, store: AdaptersStore) -> None:
    outcome, revision = carry_out(log, store, request_unlearning(log, "nobody"))
    assert outcome.published and outcome.trained_windows == 0
    assert revision is not None and revision.unlearned is not None
    assert (revision.regions, revision.unlearned.replaced, revision.unlearned.rewritten) == ((), {}, None)


def test_the_cost_is_what_will_be_trained_at_most(log: Log, store: AdaptersStore) -> None:
    cost = cost_of(log, [LATE])
    outcome, revision = carry_out(log, store, request_unlearning(log, LATE))
    assert revision is not None and revision.unlearned is not None
    assert cost.windows == sum(record.key == LATE for record in the_run().gated) > 0
    assert 0 < outcome.trained_windows <= cost.trained
    assert 0 < len(revision.unlearned.replaced) <= cost.versions
    assert cost_of(log, ["nobody"]).versions == 0


def test_old_versions_are_destroyed_new_ones_kept_and_a_rollback_finds_these(log: Log, store: AdaptersStore) -> None:
    carry_out(log, store, request_unlearning(log, ACTIVE))
    destroyed = destroyed_versions(log)
    assert set(collect_orphans(log, store)) >= set(destroyed)
    assert adapters_ever_live(log) <= set(store.names()) and destroyed.keys().isdisjoint(store.names())
    assert collect_orphans(log, store) == []
    records = list(log.read(REGIONS, 0, 0, log.end_offset(REGIONS, 0)))
    bank = bank_of(log, store)
    plan = plan_rollback(bank, records, 4, None)
    assert plan.restored[0] in store.names() and plan.restored[0] != bank[4].adapter
    for name in destroyed:
        with pytest.raises(DataError, match=f"never had {name} live"):
            plan_rollback(bank, records, 4, name)


def test_an_edit_of_erased_evidence_is_not_carried_out_again_and_says_so(log: Log, store: AdaptersStore) -> None:
    unlearn = request_unlearning(log, LATE)
    carry_out(log, store, unlearn)
    windows = windows_of_requests(log, unlearn.reason["requests"]).as_set
    touched = [edit for edit, o in short_run().ledger if o.version and {e.offset for e in edit.windows} & windows]
    again = partial(rerun, setup=copy.deepcopy(the_setup()), config=SETTINGS, log=log, adapters=Path(store.root))
    with pytest.raises(LogError, match=r"rests on \d+ windows of erased users.*was destroyed, .* stands for it"):
        again(touched[0])
    clean = [edit for edit, o in short_run().ledger if o.version and edit not in touched]
    assert again(clean[0]).alike


def test_an_edit_whose_windows_are_gone_gives_way_only_if_it_may_rest_on_the_user(tmp_path: Path) -> None:
    first = next(edit for edit, _ in the_run().ledger if edit.operation is Operation.ADD)
    for user, gives_way in ((LATE, False), (ACTIVE, True)):
        log = ledger_log(short_run(), MemoryLog())
        assert isinstance(log, MemoryLog)
        log.delete_before(GATED, 0, max(e.offset for e in first.windows) + 1)
        store = copy_of_store(short_run(), tmp_path / user)
        _, revision = carry_out(log, store, request_unlearning(log, user))
        assert revision is not None and revision.unlearned is not None
        replaced = revision.unlearned.replaced
        assert ("r0004_v0001" in replaced) is gives_way
        assert not gives_way or (replaced["r0004_v0001"] is None and bank_of(log, store)[4].status is Status.RETIRED)


def test_a_pruned_ancestor_is_brought_about_again(log: Log, store: AdaptersStore) -> None:
    # Retention took the version that the first edit to be carried out again starts from.
    store.remove(["r0004_v0002"])
    carry_out(log, store, request_unlearning(log, LATE))
    by = destroyed_versions(log)["r0004_v0002"]
    assert by is not None and weights(store, by.adapter) == the_run().versions["r0004_v0002"]


def test_a_trainer_that_is_killed_leaves_nothing_that_the_next_one_stumbles_over(tmp_path: Path) -> None:
    log = ledger_log(short_run(), SqliteLog(tmp_path / "log.sqlite"))
    store = copy_of_store(short_run(), tmp_path / "adapters")
    save_setup(the_setup(), tmp_path / "root")
    unlearn = request_unlearning(log, LATE)
    config = SETTINGS.model_copy(update={"log": SETTINGS.log.model_copy(update={"url": f"sqlite:///{log.path}"})})
    start = {"root": str(tmp_path / "root"), "adapters": store.root, "config": config.model_dump(mode="json")}
    job = {"edit": unlearn.to_record(), "next_revision": log.end_offset(REGIONS, 0)}
    child = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, text=True)
    assert child.stdin is not None
    with child.stdin as sent:
        sent.write(json.dumps(start) + "\n" + json.dumps(job) + "\n")
        sent.flush()
        assert child.wait(60) == -signal.SIGKILL
    left = set(store.names()) - set(the_run().versions)
    assert left and collect_orphans(log, store) == [], "the edit has no outcome: another trainer may need them"
    # Meanwhile a person acts, so that the next attempt starts elsewhere, and needs other names.
    roll_back(log, log.producer("person"), store, 4, None, "ann", 0.0)
    _, revision = carry_out(log, store, unlearn)
    assert revision is not None and revision.unlearned is not None
    assert left <= set(collect_orphans(log, store))
    standing = [by.adapter for by in revision.unlearned.replaced.values() if by is not None]
    assert standing and set(standing) <= set(store.names())
    assert all(store.verify(name) for name in store.names())


KILLED = """
import os, signal
from consumers.trainer.worker import main
steps = []
def die(step):
    steps.append(step)
    if steps.count("adapter.renamed") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
main(die)
"""
"""A trainer's child that is killed once it has published its second version."""


def test_gated_is_left_alone_until_the_request_is_answered(tmp_path: Path) -> None:
    log = ledger_log(short_run(), SqliteLog(tmp_path / "log.sqlite"))
    unlearn = request_unlearning(log, LATE)
    with log.producer("gate").transaction() as transaction:
        erased = UserState(History(), timestamp=1e12).to_record(0)
        transaction.send(USERS, erased, key=erasure_key(LATE), partition=0, timestamp=0.0)
    consumer = log.consumer("monitor", (GATED,), "m")
    while consumer.poll(10_000, 0.0):
        pass
    with log.producer("monitor").transaction() as transaction:
        transaction.commit_offsets(consumer)
        transaction.send(EDITS, unlearn.to_record(), key="gate", timestamp=0.0)
    purge, before = Purge({}, lambda: 0.0), everything(log, GATED)
    purge(log)
    assert everything(log, GATED) == before and not Answers(log)()
    outcome = Outcome(unlearn.edit_id, Operation.UNLEARN, 0, published=True, detail="")
    with log.producer("trainer").transaction() as transaction:
        transaction.send(OUTCOMES, outcome.to_record(), key=unlearn.edit_id, timestamp=0.0)
    purge(log)
    assert Answers(log)().keys() == set(unlearn.reason["requests"])
    assert not [r for r in everything(log, GATED) if r.key == LATE], "tombstone and request are gone, windows renamed"
    assert len(everything(log, GATED)) == len(the_run().gated)


def test_a_revision_keeps_what_was_unlearned_in_its_record_or_in_a_file(tmp_path: Path) -> None:
    files, replaced = (
        AdaptersStore(tmp_path).arrays,
        {"r0004_v0001": Replacement("r0004_v0007", 0.5), "r0004_v0002": None},
    )
    for count in (3, 5_000):
        unlearned = Unlearned(tuple(range(count)), replaced)
        revision = Revision.of(the_setup().bank, (), False, edit_id="e", unlearned=unlearned)
        written = by_reference(revision, files)
        assert (written.arrays is None) is (count == 3)
        read = resolved(Revision.from_record(json.loads(json.dumps(written.to_record()))), files)
        assert read.unlearned == unlearned and read.destroyed == replaced.keys()


def test_an_unlearn_overtakes_every_edit_and_is_overtaken_by_all_but_the_end_of_a_trial() -> None:
    bank = the_setup().bank
    unlearn = Revision.of(bank, (), False, unlearned=Unlearned((), {}))
    update, passed = Revision.of(bank, bank.regions[:1], False), Revision.of(bank, (), False, passed="r0004_v0001")
    assert update.conflicts_with(unlearn) and unlearn.conflicts_with(update) and unlearn.conflicts_with(unlearn)
    assert not unlearn.conflicts_with(passed) and not update.conflicts_with(passed)
