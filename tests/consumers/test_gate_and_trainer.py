"""Gate and trainer in one process: records of the gate, published edits, and the regions that follow them."""

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused
from pipeline.config import Config
from pipeline.editing.publisher import EditPublisher
from pipeline.editing.workspace import Workspace
from pipeline.errors import LogError
from pipeline.evaluation.ledger import edit_counts, ledger_record
from pipeline.evaluation.replay import prepare
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.existence import Existence
from pipeline.events.gated import GatedEvent
from pipeline.events.windows import History, Windows, concatenate, no_earlier
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text.hashing import HashingEncoder
from pipeline.recommend.event_scorer import EventScorer
from pipeline.recommend.scorer import ScoredBatch
from pipeline.regions.live import LiveRegions
from pipeline.regions.mixing import next_item_probabilities
from pipeline.regions.origin_classifier import fit_origins
from pipeline.regions.region import Region, Status
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from tests.gated import gated_event
from tests.models.backbones.small import windows_of
from tests.replay.small import config, dataset, plan

SETTINGS = config(
    "training.epochs=8",
    "training.batch_size=32",
    "training.learning_rate=0.01",
    "training.row_learning_rate=0.02",
    "edits.confidence=2",
)
LENGTH = SETTINGS.windows.length
FIELDS = {
    "event_id",
    "user_id",
    "timestamp",
    "target",
    "window",
    "since_setup",
    "cold",
    "region_id",
    "taste",
    "taste_rival",
    "taste_margin",
    "route",
    "confidence",
    "margin",
    "angle",
    "loss",
    "rarity",
    "model_rank",
    "rank",
    "popularity_rank",
    "model_chance",
    "backbone_chance",
    "opened",
    "tastes",
    "candidates",
    "earlier",
    "gate_version",
}
A, B = 4, 5
"""Ids of the regions opened since: set-up has 1, 2 and 3."""


def windows_named(contexts: NDArray[np.int64], targets: NDArray[np.int64], name: str) -> Windows:
    ids = np.array([f"{name}{i}" for i in range(len(targets))])
    return Windows(
        contexts,
        targets,
        ids,
        ids,
        np.arange(len(targets), dtype=np.float64),
        np.full(len(targets), LENGTH),
        np.arange(len(targets)),
        no_earlier(len(targets)),
    )


def pattern(first: int, seed: int, step: int = 1, n: int = 240) -> Windows:
    """Windows over 20 items, each followed by the one that lies so many steps further, round and round."""
    starts = np.random.default_rng(seed).integers(20, size=n)
    rows = (starts[:, None] + step * np.arange(LENGTH + 1)) % 20 + first
    return windows_named(rows[:, :-1].copy(), rows[:, -1].copy(), f"p{first}-{step}-{seed}-")


@pytest.fixture(scope="module")
def setup() -> SetUp:
    tail = plan().setup[slice(-700, None)]
    return set_up(SETTINGS, prepare(dataset(), SETTINGS, lambda *_: None)[1], tail, seed=0)


@dataclass
class Stage:
    """Gate and trainer over one store, as one process has them."""

    setup: SetUp
    root: Path
    kept: Windows = field(default_factory=lambda: pattern(1, 0, n=0))
    settings: Config = SETTINGS

    def __post_init__(self) -> None:
        self.store = AdaptersStore(self.root)
        host, trained = (AdapterHost(copy.deepcopy(self.setup.backbone), self.settings.adapter) for _ in range(2))
        # Every item of the log exists, in the rows of its plan.
        self.catalogue = OpenCatalogue(self.setup.catalogue, HashingEncoder())
        for item_id in plan().timeline.item_ids:
            self.catalogue.take(item_id)
        self.live = LiveRegions(self.setup.bank, host, self.store, self.setup.backbone_sha256, self.catalogue)
        self.gate = EventScorer(self.setup, self.settings, self.live, self.catalogue)
        self.gate.follow()
        workspace = Workspace(
            self.setup, trained, self.store, HashingEncoder(), dataset().items.get, self.events_of, LENGTH
        )
        self.trainer = EditPublisher(self.setup, self.settings, workspace, self.store)

    def keep(self, windows: Windows, region_id: int) -> tuple[Evidence, ...]:
        """Keep windows as `gated` would, and name them as evidence."""
        start = len(self.kept)
        self.kept = concatenate([self.kept, windows])
        return tuple(Evidence(str(e), start + i, region_id) for i, e in enumerate(windows.event_ids))

    def events_of(self, evidence: Sequence[Evidence]) -> list[GatedEvent]:
        kept = self.kept[np.array([e.offset for e in evidence], dtype=np.int64)]
        columns = zip(kept.event_ids.tolist(), kept.users.tolist(), kept.targets.tolist(), strict=True)
        return [
            gated_event(
                event_id=event_id,
                user_id=user,
                target=self.catalogue.ids[target],
                window=list(history.items),
                since_setup=history.since_setup,
            )
            for (event_id, user, target), history in zip(columns, self.histories(kept), strict=True)
        ]

    def histories(self, windows: Windows) -> list[History]:
        items = [tuple(self.catalogue.ids[row] for row in context if row) for context in windows.contexts.tolist()]
        return [History.of(of, LENGTH, since) for of, since in zip(items, windows.since_setup.tolist(), strict=True)]

    def handle(self, windows: Windows) -> list[GatedEvent]:
        return self.gate.handle(windows, self.catalogue.existence(), self.histories(windows))

    def answer(self, windows: Windows) -> ScoredBatch:
        return self.gate.score(windows, self.catalogue.existence())

    def edit(self, operation: Operation, region_id: int, windows: Windows | None = None, **changed: Any) -> Edit:
        bank = self.live.bank
        known = {r.region_id: r for r in bank.regions}
        evidence = self.keep(windows, region_id) if windows is not None else ()
        edit = Edit(
            edit_id="0" * 24,
            operation=operation,
            region_id=region_id,
            other_region_id=None,
            base_version=known[region_id].version if region_id in known else 0,
            base_gate=bank.gate_version,
            reason={"signal": "loss", "statistic": 15.0, "threshold": 14.0, "text": "", "regions": [1]},
            windows=evidence,
            samples=(),
            at_event=1_000,
            timestamp=1.6e9,
            seed=7,
        )
        return replace(edit, **changed)

    def apply(self, edit: Edit) -> Outcome:
        """Apply an edit and put it in force."""
        outcome, revision = self.trainer.apply(edit, self.live.bank)
        assert (revision is not None) == outcome.published
        if revision:
            self.live.apply(through_json(revision))
        return outcome


def through_json(revision: Revision) -> Revision:
    return Revision.from_record(json.loads(json.dumps(revision.to_record(), allow_nan=False)))


def same(one: ScoredBatch, other: ScoredBatch, rows: Any = slice(None)) -> bool:
    return np.array_equal(one.scores.probabilities[rows], other.scores.probabilities[rows]) and np.array_equal(
        one.posterior.probabilities[rows], other.posterior.probabilities[rows]
    )


def mixed(setup: SetUp) -> Windows:
    """Windows of set-up, of both patterns, and empty ones."""
    usual = plan().setup
    parts = [usual[~usual.cold][slice(0, 60)], pattern(1, 9, n=60), pattern(101, 9, n=60)]
    empty = windows_of(np.zeros((4, LENGTH), dtype=np.int64), np.ones(4, dtype=np.int64))
    assert len(setup.catalogue) >= 120
    return concatenate([*parts, empty])


@pytest.fixture(scope="module")
def two(setup: SetUp, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Revision]:
    """A store with an adapter for each of two patterns, and the revision in which both are live."""
    root = tmp_path_factory.mktemp("two")
    opened: list[Region] = []
    known = [setup.encoded]
    for region_id, first in ((A, 1), (B, 101)):
        stage, windows = Stage(setup, root), pattern(first, 1)
        outcome = stage.apply(stage.edit(Operation.ADD, region_id, windows))
        assert outcome.published, outcome.detail
        opened.append(stage.live.bank[region_id])
        known.append(setup.view(stage.live.host.states(windows.contexts, None), windows.contexts, windows.since_setup))
    coverage = np.ones((2, len(setup.bank.setup)))
    origins = fit_origins([A, B], known, coverage, [1.0, 0.5, 0.5], SETTINGS.gate.penalty)
    bank = setup.bank.changed(*opened).rebound(origins)
    return root, Revision.of(bank, tuple(opened), moved=True)


@pytest.fixture
def both(setup: SetUp, two: tuple[Path, Revision]) -> Stage:
    """A process that follows the revision with both regions; its store is not to be published to."""
    stage = Stage(setup, two[0])
    stage.live.apply(through_json(two[1]))
    return stage


# --- gate -------------------------------------------------------------------------------------------------


def test_a_gated_record_has_every_field_and_is_json(both: Stage) -> None:
    windows = concatenate([plan().stream[slice(0, 40)], pattern(1, 3, n=24)])
    found = both.handle(windows)
    records = [event.to_record() for event in found]
    assert len(records) == len(windows)
    assert all(set(record) == FIELDS for record in records)
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert [GatedEvent.from_record(record, ()).to_record() for record in records] == records
    assert [r["event_id"] for r in records] == windows.event_ids.tolist()
    assert {r["gate_version"] for r in records} == {1}
    assert {i for r in records for i in r["route"]} <= {A, B}
    assert any(r["route"] == [A] for r in records)
    assert all(r["taste"] in (1, 2, 3) for r in records)
    assert all(r["rank"] >= 1 and r["loss"] >= 0 for r in records)


def test_a_gated_record_holds_its_window(both: Stage) -> None:
    windows = plan().stream[slice(0, 30)]
    ids = both.catalogue.ids
    found = both.handle(windows)
    assert [e.window for e in found] == [[ids[row] for row in context if row] for context in windows.contexts]
    assert [e.target for e in found] == [ids[row] for row in windows.targets]
    assert [e.since_setup for e in found] == windows.since_setup.tolist()


def test_the_gate_answers_a_distribution(both: Stage) -> None:
    answers = both.answer(mixed(both.setup))
    # Every item beyond set-up adds the small popularity of an item that was never taken.
    np.testing.assert_allclose(answers.scores.probabilities.sum(axis=1), 1.0, rtol=1e-4)
    np.testing.assert_allclose(answers.route.sum(axis=1), 1.0)
    assert (answers.scores.probabilities[:, 0] == 0).all()


# --- revisions --------------------------------------------------------------------------------------------


def test_who_only_reads_the_revisions_answers_the_same_bit_for_bit(setup: SetUp, tmp_path: Path) -> None:
    writer, reader = Stage(setup, tmp_path), Stage(setup, tmp_path)
    windows = mixed(setup)
    assert same(writer.answer(windows), reader.answer(windows))
    for operation, step in ((Operation.ADD, 1), (Operation.UPDATE, 3)):
        outcome, revision = writer.trainer.apply(writer.edit(operation, A, pattern(1, 1, step)), writer.live.bank)
        assert revision is not None, outcome.detail
        for stage in (writer, reader):
            stage.live.apply(through_json(revision))
        assert same(writer.answer(windows), reader.answer(windows))
        assert reader.live.host.names == [outcome.version]
    assert reader.live.bank[A].adapter == "r0004_v0002"


def test_boundaries_of_an_earlier_version_are_refused_with_the_way_out(setup: SetUp, tmp_path: Path) -> None:
    stage = Stage(setup, tmp_path)
    _, revision = stage.trainer.apply(stage.edit(Operation.ADD, A, pattern(1, 1)), stage.live.bank)
    assert revision is not None
    record = revision.to_record()
    del record["origins"]["coverage"]
    with pytest.raises(LogError, match="begin a new log"):
        stage.live.apply_with_fallback(Revision.from_record(record))


def test_a_corrupt_adapter_is_refused_and_the_old_revision_goes_on_answering(setup: SetUp, tmp_path: Path) -> None:
    writer, reader = Stage(setup, tmp_path), Stage(setup, tmp_path)
    windows = mixed(setup)
    _, first = writer.trainer.apply(writer.edit(Operation.ADD, A, pattern(1, 1)), writer.live.bank)
    assert first is not None
    for stage in (writer, reader):
        stage.live.apply(through_json(first))
    before, bank = reader.answer(windows), reader.live.bank
    _, second = writer.trainer.apply(writer.edit(Operation.UPDATE, A, pattern(1, 1, step=3)), writer.live.bank)
    assert second is not None
    spoil(tmp_path, "r0004_v0002")
    with pytest.raises(AdapterRefused):
        reader.live.apply(through_json(second))
    assert reader.live.bank is bank
    assert reader.live.host.names == ["r0004_v0001"]
    assert same(reader.answer(windows), before)


def spoil(root: Path, name: str) -> None:
    (weights,) = (root / name).glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.chmod(0o600)
    weights.write_bytes(content)


@pytest.mark.parametrize("spoilt", ["r0004_v0001", "r0005_v0001"])
def test_of_two_adapters_with_a_corrupt_one_among_them_neither_is_taken_over(
    setup: SetUp, two: tuple[Path, Revision], tmp_path: Path, spoilt: str
) -> None:
    shutil.copytree(two[0], tmp_path / "own")
    spoil(tmp_path / "own", spoilt)
    stage, windows = Stage(setup, tmp_path / "own"), mixed(setup)
    before = stage.answer(windows)
    with pytest.raises(AdapterRefused):
        stage.live.apply(through_json(two[1]))
    assert stage.live.host.names == []
    assert stage.live.bank is setup.bank
    assert same(stage.answer(windows), before)


def test_who_follows_takes_over_boundaries_and_what_is_sound_and_leaves_the_rest_to_the_backbone(
    setup: SetUp, two: tuple[Path, Revision], both: Stage, tmp_path: Path
) -> None:
    shutil.copytree(two[0], tmp_path / "own")
    spoil(tmp_path / "own", "r0004_v0001")
    stage, windows = Stage(setup, tmp_path / "own"), mixed(setup)
    plain, sound = stage.answer(windows), both.answer(windows)
    (refusal,) = stage.live.apply_with_fallback(through_json(two[1]))
    assert refusal.reason == "hash_mismatch"
    assert stage.live.host.names == ["r0005_v0001"]
    after = stage.answer(windows)
    assert np.array_equal(after.route, sound.route)
    only_a = after.route[:, 1] == 1.0
    assert only_a.sum() > 10
    np.testing.assert_allclose(after.scores.probabilities[only_a], plain.scores.probabilities[only_a], atol=1e-6)
    without_a = after.route[:, 1] == 0.0
    assert same(after, sound, without_a)


def test_who_follows_keeps_the_last_good_adapter_of_a_region(setup: SetUp, tmp_path: Path) -> None:
    writer, reader = Stage(setup, tmp_path), Stage(setup, tmp_path)
    revisions = []
    for operation, step in ((Operation.ADD, 1), (Operation.UPDATE, 3)):
        _, revision = writer.trainer.apply(writer.edit(operation, A, pattern(1, 1, step)), writer.live.bank)
        assert revision is not None
        revisions.append(through_json(revision))
        writer.live.apply(revisions[-1])
    assert reader.live.apply_with_fallback(revisions[0]) == []
    spoil(tmp_path, "r0004_v0002")
    assert len(reader.live.apply_with_fallback(revisions[1])) == 1
    assert reader.live.host.names == ["r0004_v0001"]
    assert reader.live.bank.adapters == (None, "r0004_v0001")
    assert reader.live.bank[A].version == 2


def test_an_adapter_of_another_backbone_is_refused(setup: SetUp, two: tuple[Path, Revision]) -> None:
    stage = Stage(replace(setup, backbone_sha256="0" * 64), two[0])
    with pytest.raises(AdapterRefused):
        stage.live.apply(through_json(two[1]))
    assert stage.live.bank is setup.bank


# --- trainer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [3, None])
def test_an_edit_trains_as_many_passes_as_its_record_says(setup: SetUp, tmp_path: Path, passes: int | None) -> None:
    """An older record without the field means `training.epochs`."""
    stage = Stage(setup, tmp_path)
    told = json.loads(json.dumps(stage.edit(Operation.ADD, A, pattern(1, 1), passes=passes).to_record()))
    if passes is None:
        del told["passes"]
    outcome, _ = stage.trainer.apply(Edit.from_record(told), stage.live.bank)
    assert outcome.trained_windows == (240 - 48) * (passes or SETTINGS.training.epochs)


def test_an_add_that_learned_a_new_pattern_is_published(setup: SetUp, tmp_path: Path) -> None:
    stage, windows = Stage(setup, tmp_path), pattern(1, 1)
    before = stage.answer(windows)
    outcome = stage.apply(stage.edit(Operation.ADD, A, windows))
    assert outcome.published
    assert outcome.version == "r0004_v0001"
    assert outcome.validation is not None
    assert outcome.validation["after"] < outcome.validation["before"]
    assert outcome.validation["windows"] == 48
    assert outcome.trained_windows == (240 - 48) * SETTINGS.training.epochs
    region = stage.live.bank[A]
    assert (region.status, region.version, region.opened_at) == (Status.LIVE, 1, 1_000)
    assert stage.live.bank.gate_version == 1
    fresh = pattern(1, 5)
    probability = stage.answer(fresh).scores.probabilities[np.arange(len(fresh)), fresh.targets].mean()
    assert probability > 3 * before.scores.probabilities[np.arange(len(windows)), windows.targets].mean()


def test_an_add_on_shuffled_targets_is_rejected_and_leaves_nothing_behind(setup: SetUp, tmp_path: Path) -> None:
    stage, windows = Stage(setup, tmp_path), mixed(setup)
    usual = plan().setup
    usual = usual[~usual.cold][slice(0, 240)]
    targets = np.random.default_rng(0).integers(1, len(setup.catalogue) + 1, size=len(usual))
    before = stage.answer(windows)
    outcome = stage.apply(stage.edit(Operation.ADD, A, windows_named(usual.contexts, targets, "shuffled")))
    assert not outcome.published
    assert "not clearly better" in outcome.detail
    assert outcome.trained_windows > 0
    assert stage.live.host.names == []
    assert list(stage.store.names()) == []
    assert same(stage.answer(windows), before)


def test_an_edit_of_a_gate_that_moved_on_is_rejected(both: Stage) -> None:
    edit = both.edit(Operation.ADD, 6, pattern(201, 1), base_gate=0)
    outcome, revision = both.trainer.apply(edit, both.live.bank)
    assert (outcome.published, revision, outcome.trained_windows) == (False, None, 0)
    assert outcome.detail == "the gate moved on from version 0 to 1 since this was decided"


@pytest.mark.parametrize("operation", [Operation.UPDATE, Operation.RETIRE])
def test_an_edit_of_a_region_that_moved_on_is_rejected(both: Stage, operation: Operation) -> None:
    outcome, revision = both.trainer.apply(both.edit(operation, A, pattern(1, 1), base_version=0), both.live.bank)
    assert (outcome.published, revision, outcome.trained_windows) == (False, None, 0)
    assert outcome.detail == "region 4 moved on from version 0 since this was decided"


def in_own_store(setup: SetUp, two: tuple[Path, Revision], root: Path) -> Stage:
    """A process that follows the revision with both regions and may publish."""
    shutil.copytree(two[0], root, dirs_exist_ok=True)
    stage = Stage(setup, root)
    stage.live.apply(through_json(two[1]))
    return stage


def test_an_update_of_one_region_changes_no_answer_of_those_whose_route_is_without_it(
    setup: SetUp, two: tuple[Path, Revision], tmp_path: Path
) -> None:
    stage, windows = in_own_store(setup, two, tmp_path / "own"), mixed(setup)
    before = stage.answer(windows)
    without = before.route[:, 1] == 0.0
    assert without.sum() >= 60
    assert (before.route[without, 2] > 0).sum() >= 30
    assert (~without).sum() >= 30
    outcome = stage.apply(stage.edit(Operation.UPDATE, A, pattern(1, 1, step=3)))
    assert outcome.published, outcome.detail
    after = stage.answer(windows)
    assert np.array_equal(after.scores.probabilities[without], before.scores.probabilities[without])
    np.testing.assert_array_equal(after.route, before.route)
    assert not np.array_equal(after.scores.probabilities[~without], before.scores.probabilities[~without])
    assert stage.live.bank.gate_version == 1


def files_under(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_same_edit_applied_twice_gives_the_same_bytes(setup: SetUp, tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        stage = Stage(setup, tmp_path / name)
        outcome, revision = stage.trainer.apply(stage.edit(Operation.ADD, A, pattern(1, 1)), stage.live.bank)
        assert outcome.published
        written.append((outcome, revision and revision.to_record(), files_under(tmp_path / name)))
    assert written[0] == written[1]
    assert any(name.endswith(".safetensors") for name in written[0][2])


def test_an_edit_that_was_published_already_is_published_again_without_harm(setup: SetUp, tmp_path: Path) -> None:
    # A crash between the files and the log's transaction: after the restart the edit is applied once more.
    first, again = Stage(setup, tmp_path), Stage(setup, tmp_path)
    stages = (first, again)
    results = [stage.trainer.apply(stage.edit(Operation.ADD, A, pattern(1, 1)), stage.live.bank) for stage in stages]
    assert results[0][0] == results[1][0]
    revisions = [revision.to_record() for _, revision in results if revision is not None]
    assert len(revisions) == 2 and revisions[0] == revisions[1]
    assert list(again.store.names()) == ["r0004_v0001"]


def test_a_version_says_what_it_was_trained_from(setup: SetUp, two: tuple[Path, Revision], tmp_path: Path) -> None:
    stage = in_own_store(setup, two, tmp_path / "own")
    assert stage.store.show("r0004_v0001").parent is None
    stage.apply(stage.edit(Operation.UPDATE, A, pattern(1, 1, step=3)))
    assert stage.store.show("r0004_v0002").parent == "r0004_v0001"


def test_a_child_is_trained_from_its_parent_or_comes_to_an_update_of_it(
    setup: SetUp, two: tuple[Path, Revision], tmp_path: Path
) -> None:
    stage = in_own_store(setup, two, tmp_path / "own")
    samples = (*stage.keep(pattern(1, 1), A), *stage.keep(pattern(101, 1), B))
    edit = stage.edit(Operation.ADD, 6, pattern(1, 2, step=3), samples=samples)
    outcome = stage.apply(edit)
    assert outcome.published, outcome.detail
    assert outcome.version in ("r0006_v0001", "r0004_v0002")
    assert stage.store.show(outcome.version).parent == "r0004_v0001"
    opened = outcome.version == "r0006_v0001"
    assert outcome.operation is (Operation.ADD if opened else Operation.UPDATE)
    assert outcome.region_id == (6 if opened else A)
    assert stage.live.bank.origins.origins == ((A, B, 6) if opened else (A, B))
    record = ledger_record(0, edit, outcome)
    assert (record["operation"], record["region_id"]) == (str(outcome.operation), outcome.region_id)
    assert edit_counts([(edit, outcome)])[str(outcome.operation)] == 1


def test_merged_set_up_regions_are_one(setup: SetUp, tmp_path: Path) -> None:
    stage, windows = Stage(setup, tmp_path), mixed(setup)
    # The trend counts for each set-up region, and there is one less of them afterwards; the model's answers stay.
    stage.gate.online = None
    before, priors = stage.answer(windows), [setup.bank[i].prior for i in (1, 2)]
    usual = plan().setup
    edit = stage.edit(Operation.MERGE, 1, usual[~usual.cold][slice(0, 40)], other_region_id=2)
    outcome = stage.apply(edit)
    assert outcome.published
    assert stage.live.bank[2].status is Status.MERGED
    assert stage.live.bank[1].prior == pytest.approx(sum(priors))
    assert [r.region_id for r in stage.live.bank.live] == [1, 3]
    # Set-up regions have no adapters: the backbone answers as before.
    assert np.array_equal(stage.answer(windows).scores.probabilities, before.scores.probabilities)


def test_the_backbone_answers_for_a_region_that_retired(setup: SetUp, tmp_path: Path) -> None:
    stage, windows = Stage(setup, tmp_path), mixed(setup)
    before = stage.answer(windows)
    stage.apply(stage.edit(Operation.ADD, A, pattern(1, 1)))
    assert not same(stage.answer(windows), before)
    outcome = stage.apply(stage.edit(Operation.RETIRE, A, samples=stage.keep(pattern(1, 1), A)))
    assert outcome.published
    assert stage.live.bank[A].status is Status.RETIRED
    assert stage.live.host.names == []
    assert same(stage.answer(windows), before)
    assert list(stage.store.names()) == ["r0004_v0001"], "versions stay in the store"


def test_where_one_of_two_regions_retires_the_other_goes_on(
    setup: SetUp, two: tuple[Path, Revision], tmp_path: Path
) -> None:
    stage = in_own_store(setup, two, tmp_path / "own")
    samples = (*stage.keep(pattern(1, 1), A), *stage.keep(pattern(101, 1), B))
    stage.apply(stage.edit(Operation.RETIRE, A, samples=samples))
    assert stage.live.bank.origins.origins == (B,)
    assert stage.live.host.names == ["r0005_v0001"]
    assert (stage.answer(pattern(101, 9)).posterior.tops == B).mean() > 0.9


def test_an_edit_that_names_no_second_region_where_it_needs_one_is_an_error(setup: SetUp, tmp_path: Path) -> None:
    stage = Stage(setup, tmp_path)
    with pytest.raises(ValueError, match="concerns two regions"):
        stage.trainer.apply(stage.edit(Operation.MERGE, 1, pattern(1, 1)), stage.live.bank)


# --- trend ------------------------------------------------------------------------------------------------


def test_a_window_is_scored_before_the_trend_learns_from_it(setup: SetUp, tmp_path: Path) -> None:
    """The first window's rank is what `answer` said before; the same item right after it ranks higher."""
    stage = Stage(setup, tmp_path)
    windows = pattern(1, 1, n=2)
    windows = concatenate([windows[slice(0, 1)]] * 40)
    first, existence = windows[slice(1)], stage.catalogue.existence()
    expected = stage.gate.ranks(first, stage.gate.score(first, existence), existence)
    records = stage.handle(windows)
    assert records[0].rank == expected[0]
    assert records[-1].rank < records[0].rank
    assert len({r.model_rank for r in records}) == 1, "the model has learned nothing"


def test_without_a_trend_the_model_answers(setup: SetUp, tmp_path: Path) -> None:
    stage = Stage(setup, tmp_path)
    stage.gate.online = None
    assert all(r.rank == r.model_rank for r in stage.handle(plan().stream[slice(0, 50)]))


def test_one_batch_or_many_make_the_same_counts(setup: SetUp, tmp_path: Path) -> None:
    """The network takes shorter steps after smaller batches; counts do not depend on batches."""
    windows = plan().stream[slice(0, 60)]
    whole, pieces = Stage(setup, tmp_path / "a"), Stage(setup, tmp_path / "b")
    whole.handle(windows)
    for start in range(0, 60, 7):
        pieces.handle(windows[slice(start, start + 7)])
    assert whole.gate.online is not None
    assert pieces.gate.online is not None
    one, other = whole.gate.online.to_arrays(), pieces.gate.online.to_arrays()
    same = {name for name in one if np.array_equal(one[name], other[name])}
    assert {name.split(".")[0] for name in one.keys() - same} == {"network"}


def set_up_again(windows: Windows, setup: SetUp) -> Windows:
    """The same windows, followed by what the backbone expects."""
    host = AdapterHost(copy.deepcopy(setup.backbone), SETTINGS.adapter)
    expected = (
        next_item_probabilities(host, windows.contexts, None, Existence.of_all(len(setup.catalogue)))
        .numpy()
        .argmax(axis=1)
    )
    return replace(windows, targets=expected)


def test_a_preference_that_turns_back_is_answered_by_the_backbone_again(both: Stage) -> None:
    changed = pattern(1, 5, n=120)
    back = set_up_again(pattern(1, 6, n=120), both.setup)
    records = [both.handle(windows) for windows in (changed, back)]
    content = both.gate.score_content(back.contexts, back.since_setup, both.catalogue.existence())
    assert content.route[:, 1].mean() > 0.9, "what they took before still looks like the region"
    shares = [np.array([r.opened for r in found]) for found in records]
    assert shares[0].mean() > 0.9
    assert shares[1][-30:].mean() < 0.5 * shares[0].mean()
    hits = [np.array([r.model_rank for r in records[1][part]]) <= 10 for part in (slice(0, 20), slice(-20, None))]
    assert hits[1].mean() > hits[0].mean()
    assert any(not r.route for r in records[1]), "the region does not learn what is not its own any more"
    assert all(r.route for r in records[0])


def test_origin_prior_and_counts_come_back_from_records_to_the_bit(both: Stage) -> None:
    changed, back = pattern(1, 5, n=100), set_up_again(pattern(1, 6, n=100), both.setup)
    again = Stage(both.setup, both.root)
    again.live.apply(Revision.of(both.live.bank, both.live.bank.stream, moved=True))
    for windows in (changed, back):
        written = json.dumps([event.to_record() for event in both.handle(windows)])
        events = [GatedEvent.from_record(record, ()) for record in json.loads(written)]
        again.gate.learn_again(events, again.catalogue.existence())
    assert both.gate.online is not None
    assert again.gate.online is not None
    kept, restored = both.gate.online.to_arrays(), again.gate.online.to_arrays()
    assert np.abs(kept["eras"]).max() > 0.1
    assert all(np.array_equal(kept[name], restored[name]) for name in kept)


def test_a_trend_continues_where_another_process_stopped(setup: SetUp, tmp_path: Path) -> None:
    windows = plan().stream[slice(0, 60)]
    whole, second = Stage(setup, tmp_path / "a"), Stage(setup, tmp_path / "b")
    ranks = [r.rank for r in whole.handle(windows[slice(0, 30)])]
    assert whole.gate.online is not None
    assert second.gate.online is not None
    second.gate.online.restore(whole.gate.online.to_arrays(), np.arange(whole.catalogue.rows + 1))
    rest = windows[slice(30, 60)]
    assert [r.rank for r in whole.handle(rest)] == [r.rank for r in second.handle(rest)]
    assert len(ranks) == 30
