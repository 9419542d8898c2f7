"""The monitor, driven with gated events made by hand: causes of each edit, and of none."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from adapters_store import version_name
from pipeline.arrays import Array
from pipeline.config import Config, load_config
from pipeline.events.edit import AUDIT, Edit, Operation, Outcome, held_out
from pipeline.events.gated import GatedEvent
from pipeline.monitor import Monitor
from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.setup.calibration import Calibration
from tests.gated import gated_event

FEATURES = 3
SMALL = (
    "setup.regions=2",
    "monitor.expected_run=10000",
    "monitor.thinning=1",
    "monitor.visits_window=400",
    "edits.min_windows=32",
    "edits.boundary_windows=16",
    "edits.update_windows=64",
    "edits.cool_down=32",
    "edits.passes_per_event=50",
)
BATCH = 16
STRANGE = 12.0
"""A loss that no set-up window had."""

Record = dict[str, Any]
Verdict = Callable[[Edit], bool]


def config(*overrides: str) -> Config:
    return load_config(overrides=(*SMALL, *overrides))


def origins(*ids: int) -> OriginModel:
    return OriginModel(
        ids,
        np.zeros((len(ids), 0)),
        np.zeros(FEATURES),
        np.ones(FEATURES),
        np.zeros((FEATURES + len(ids) + 1, 1 + len(ids))),
    )


def region(region_id: int, centroid: Iterable[float], origin: Origin = Origin.BASE, **changed: Any) -> Region:
    unit = np.array(list(centroid), dtype=np.float64)
    blank = Region(region_id, 0, Status.LIVE, origin, None, unit / np.linalg.norm(unit), 0.5, 20.0, 0.5)
    return replace(blank, **changed)


def two_regions() -> RegionBank:
    return RegionBank((region(1, (1, 0, 0)), region(2, (0, 1, 0))), origins())


def with_opened() -> RegionBank:
    """Two set-up regions and one opened since."""
    opened = region(3, (0, 0, 1), Origin.STREAM, version=1, adapter=version_name(3, 1))
    return two_regions().changed(opened).rebound(origins(3))


def calibration(regions: Iterable[int] = (1, 2), n: int = 300) -> Calibration:
    rng = np.random.default_rng(0)
    ids = np.repeat(list(regions), n)
    usual = [usual_scores(rng) for _ in ids]
    columns = {name: np.array([u[name] for u in usual]) for name in usual[0]}
    moved: Array = (rng.random(len(ids)) < 0.02).astype(np.float64)
    windows = np.zeros((len(ids), 3), dtype=np.int64)
    return Calibration(
        ids,
        columns["angle"],
        columns["setup_margin"],
        columns["loss"],
        columns["rarity"],
        windows,
        windows[:, 0],
        np.arange(len(ids)) % 2,
        ids.copy(),
        moved,
    )


def usual_scores(rng: np.random.Generator) -> Record:
    return {
        "angle": rng.uniform(0.1, 0.5),
        "setup_margin": rng.uniform(0.2, 1.0),
        "loss": rng.normal(3.0, 1.0),
        "rarity": -rng.uniform(2.0, 5.0),
    }


@dataclass
class Driven:
    """A monitor, the events that it observed, and its edits."""

    settings: Config = field(default_factory=config)
    bank: RegionBank = field(default_factory=two_regions)
    timestamps: Callable[[int], float] = float
    regions: tuple[int, ...] = (1, 2)
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        self.monitor = Monitor(
            self.settings,
            RegionBank(tuple(r for r in self.bank.regions if r.origin == Origin.BASE), origins()),
            self.calibration or calibration(self.regions),
            seed=0,
            setup_items=["i1"],
        )
        self.rng = np.random.default_rng(1)
        self.shown: list[GatedEvent] = []
        self.edits: list[Edit] = []

    def show(self, region_id: int, offset: int | None = None, **changed: Any) -> None:
        """Show one record; by default as in set-up, of a user who never leaves the region."""
        n = len(self.shown)
        event = gated_event(
            **{
                "event_id": f"e{n:06d}",
                "user_id": f"u{region_id}-{self.rng.integers(40)}",
                "timestamp": self.timestamps(n),
                "cold": False,
                "region_id": region_id,
                "setup_region": region_id if region_id in (1, 2) else 1,
                "setup_rival": 2 if region_id == 1 else 1,
                "route": [region_id] if region_id > 2 else [],
                "confidence": 0.9,
                "margin": 0.8,
                **usual_scores(self.rng),
                **changed,
            }
        )
        self.shown.append(event)
        self.monitor.observe(event, 10 * n if offset is None else offset)

    def feed(
        self, n: int, regions: Iterable[int] = (1, 2), verdict: Verdict | None = None, **changed: Any
    ) -> list[Edit]:
        """Show n records of each region in turn; edits get the outcome of the verdict, or stay pending.

        Args:
            changed: fields of all events, or of one region's, as in `loss_in_1`.
        """
        made = []
        for i in range(n):
            for region_id in regions:
                own = {
                    k.removesuffix(f"_in_{region_id}"): v for k, v in changed.items() if k.endswith(f"_in_{region_id}")
                }
                everywhere = {k: v for k, v in changed.items() if "_in_" not in k}
                self.show(region_id, **everywhere, **own)
            if i % BATCH == 0:
                edits = self.monitor.decide()
                made += edits
                for edit in edits if verdict else ():
                    self.settle(edit, verdict(edit))
        self.edits += made
        return made

    def settle(self, edit: Edit, published: bool) -> None:
        cost = 0
        if edit.operation in (Operation.ADD, Operation.UPDATE):
            judged = held_out(edit.reason, len(edit.windows), self.settings.edits)
            cost = int((~judged).sum()) * self.settings.training.epochs
        if published:
            self.bank = published_bank(self.bank, edit)
        outcome = Outcome(edit.edit_id, edit.operation, edit.region_id, published, "", trained_windows=cost)
        self.monitor.apply(outcome, self.bank)

    def regions_of(self, edit: Edit) -> set[int]:
        """Regions that the windows of an edit were counted in."""
        by_id = {r.event_id: r.region_id for r in self.shown}
        return {by_id[e.event_id] for e in edit.windows}


def published_bank(bank: RegionBank, edit: Edit) -> RegionBank:
    """The regions after an edit, in the fields that the monitor reads."""
    if edit.operation is Operation.ADD:
        name = version_name(edit.region_id, 1)
        opened = region(edit.region_id, (0, 0, 1), Origin.STREAM, version=1, adapter=name, opened_at=edit.at_event)
        return bank.changed(opened).rebound(origins(*bank.origins.origins, edit.region_id))
    old = bank[edit.region_id]
    if edit.operation is Operation.RETIRE:
        kept = tuple(i for i in bank.origins.origins if i != edit.region_id)
        return bank.changed(replace(old, version=old.version + 1, status=Status.RETIRED)).rebound(origins(*kept))
    if edit.operation is Operation.UPDATE:
        version = old.version + 1
        return bank.changed(replace(old, version=version, adapter=version_name(old.region_id, version)))
    if edit.operation is Operation.MERGE:
        assert edit.other_region_id is not None
        gone = replace(bank[edit.other_region_id], status=Status.MERGED)
        return bank.changed(replace(old, version=old.version + 1), gone).rebound(bank.origins)
    return bank.rebound(bank.origins)


def opened(*overrides: str) -> Driven:
    """A monitor of two set-up regions and one opened on windows of region 1."""
    driven = Driven(config(*overrides))
    driven.feed(100)
    (add,) = driven.feed(64, loss_in_1=STRANGE)
    driven.settle(add, published=True)
    assert driven.bank.origins.origins == (3,)
    return driven


def no_audit(edits: Iterable[Edit]) -> list[Edit]:
    return [e for e in edits if e.reason["signal"] != AUDIT]


def refuse_audits(edit: Edit) -> bool:
    return bool(edit.reason["signal"] != AUDIT)


# --- alarms -----------------------------------------------------------------------------------------------


def test_without_drift_there_is_no_edit() -> None:
    assert Driven().feed(1_500) == []


def test_a_risen_loss_opens_one_region_on_windows_of_the_region_it_rose_in() -> None:
    driven = Driven()
    assert driven.feed(100) == []
    (edit,) = driven.feed(100, loss_in_1=STRANGE)
    assert (edit.operation, edit.region_id, edit.other_region_id) == (Operation.ADD, 3, None)
    assert edit.reason["signal"] == "loss"
    assert edit.reason["regions"] == [1]
    assert edit.reason["statistic"] >= edit.reason["threshold"] == pytest.approx(np.log(1e4))
    assert driven.regions_of(edit) == {1}
    assert len(edit.windows) >= 32
    assert {e.region_id for e in edit.windows} == {3}
    assert [e.offset for e in edit.windows] == sorted(e.offset for e in edit.windows)


@pytest.mark.parametrize("changed", [{"angle_in_2": 1.4}, {"rarity_in_2": 0.0}])
def test_strange_windows_and_rare_items_open_a_region_as_well(changed: Record) -> None:
    driven = Driven()
    driven.feed(100)
    (edit,) = driven.feed(100, **changed)
    assert edit.operation is Operation.ADD
    assert driven.regions_of(edit) == {2}


def test_a_signal_that_is_switched_off_raises_no_alarm() -> None:
    driven = Driven(config("monitor.loss=false"))
    driven.feed(100)
    assert driven.feed(200, loss_in_1=STRANGE) == []


def test_what_drifts_in_both_regions_is_one_edit() -> None:
    driven = Driven()
    driven.feed(100)
    (edit,) = driven.feed(100, loss=STRANGE)
    assert edit.operation is Operation.ADD
    assert edit.reason["regions"] == [1, 2]
    assert driven.regions_of(edit) == {1, 2}


def test_narrow_margins_between_set_up_regions_move_their_boundary() -> None:
    driven = Driven()
    driven.feed(100)
    (edit,) = driven.feed(60, setup_margin_in_1=0.01)
    assert (edit.operation, edit.region_id, edit.other_region_id) == (Operation.EXPAND, 1, 2)
    assert edit.reason["signal"] == "doubt"


def test_users_who_move_from_one_set_up_region_to_another_move_their_boundary() -> None:
    driven = Driven()
    driven.feed(100)
    for n in range(60):
        driven.show(1, user_id=f"mover{n}")
        driven.show(2, user_id=f"mover{n}")
    (edit,) = driven.monitor.decide()
    assert edit.operation is Operation.EXPAND
    assert (edit.region_id, edit.other_region_id) == (1, 2)
    assert edit.reason["signal"] == "shift"
    assert edit.reason["regions"] == [1, 2]
    assert sum(edit.reason["shares"].values()) == pytest.approx(1.0)
    users = {r.event_id: r.user_id for r in driven.shown}
    assert all(users[e.event_id].startswith("mover") for e in edit.windows)


# --- with an opened region ----------------------------------------------------------------------------------


def test_a_stream_region_learns_new_windows_then_expands_over_them_else_another_is_added() -> None:
    driven = opened()
    driven.feed(100, verdict=refuse_audits)
    first = len(driven.shown)

    def until(operation: Operation, verdict: Verdict) -> list[Edit]:
        made: list[Edit] = []
        for _ in range(200):
            fed = no_audit(driven.feed(1, loss_in_2=STRANGE, verdict=verdict))
            made += fed
            if any(e.operation is operation for e in fed):
                return made
        raise AssertionError(f"no {operation}, but {[str(e.operation) for e in made]}")

    accept_updates: Verdict = lambda e: e.operation is Operation.UPDATE  # noqa: E731
    made = until(Operation.EXPAND, accept_updates)
    assert [e.operation for e in made[:-1]] == [Operation.UPDATE] * (len(made) - 1)
    assert len(made) >= 2
    new = {r.event_id for r in driven.shown[first:] if r.region_id == 2}
    learned = {e.event_id for edit in made[:-1] for e in edit.windows}
    assert len(learned & new) >= 32
    expand = made[-1]
    assert (expand.region_id, expand.other_region_id, expand.reason["regions"]) == (3, None, [2])
    assert {e.event_id for e in expand.windows} & new
    assert driven.regions_of(expand) == {2}
    after = until(Operation.ADD, accept_updates)
    assert {e.operation for e in after[:-1]} <= {Operation.UPDATE}
    assert after[-1].region_id == 4
    assert after[-1].reason["regions"] == [2]


def test_a_region_does_not_expand_over_windows_too_few_to_validate() -> None:
    driven = opened()
    driven.feed(100, verdict=refuse_audits)
    least = driven.settings.edits.boundary_windows
    driven.feed(40, (1,), verdict=lambda e: False, loss=STRANGE)  # noqa: ARG005
    both = [driven.monitor.state.regions[region_id] for region_id in (1, 2)]
    both[0].quiet_until = 0
    # Region 2 has been learned by the opened one, and its own alarm is young.
    both[1].learned_by_target, both[1].quiet_until = 1000, 0
    both[1].raised["loss"] = driven.monitor.state.at_event, 20.0
    for n in range(1, 2 * least):
        driven.show(2, loss=STRANGE)
        expands = [e for e in no_audit(driven.monitor.decide()) if e.operation is Operation.EXPAND]
        assert bool(expands) is (n >= least), n
        if expands:
            assert len(expands[0].windows) == least
            return


def test_new_windows_of_an_opened_region_are_learned_once_there_are_enough() -> None:
    driven = opened()
    made = no_audit(driven.feed(150, regions=(3,), verdict=refuse_audits))
    updates = [e for e in made if e.operation is Operation.UPDATE]
    assert len(updates) >= 2
    assert {e.region_id for e in updates} == {3}
    edits = driven.settings.edits
    learned = [e.event_id for e in driven.edits[0].windows]
    learned = [
        e for e, held in zip(learned, held_out(driven.edits[0].reason, len(learned), edits), strict=True) if not held
    ]
    for edit in updates:
        # What doubles a region's knowledge need not wait for as many windows as later ones.
        assert len(edit.windows) >= min(edits.update_windows, max(edits.min_windows, len(learned)))
        assert not edit.samples, "an Update trains on nothing but its windows"
        judged = held_out(edit.reason, len(edit.windows), driven.settings.edits)
        learned += [e.event_id for e, held in zip(edit.windows, judged, strict=True) if not held]
    assert len(learned) == len(set(learned)), "a window was learned twice"


def test_a_boundary_is_refitted_when_its_evidence_has_doubled() -> None:
    driven = opened()
    made = no_audit(driven.feed(200, regions=(3,), verdict=refuse_audits))
    doubled = [e for e in made if e.reason["signal"] == "evidence doubled"]
    assert doubled
    assert all((e.operation, e.region_id) == (Operation.EXPAND, 3) for e in doubled)
    assert {s.region_id for s in doubled[-1].samples} == {3}


def test_each_region_is_in_one_pending_edit_at_most() -> None:
    driven = opened()
    driven.feed(600, regions=(1, 2, 3), loss=STRANGE)
    assert len([e for e in driven.edits[1:] if e.operation is Operation.UPDATE]) <= 1
    assert len([e for e in driven.edits[1:] if e.operation is not Operation.UPDATE]) <= 1


# --- ends ---------------------------------------------------------------------------------------------------


def test_a_region_without_visits_is_retired() -> None:
    driven = Driven()
    driven.feed(100)
    (edit,) = driven.feed(500, regions=(1,))
    assert (edit.operation, edit.region_id) == (Operation.RETIRE, 2)
    assert edit.reason["signal"] == "visits"
    assert edit.windows == ()


def test_a_stream_region_without_visits_is_retired() -> None:
    driven = opened()
    driven.feed(400, regions=(1, 2, 3), verdict=refuse_audits)
    made = driven.feed(600, verdict=refuse_audits)
    assert [e.region_id for e in made if e.operation is Operation.RETIRE] == [3]


def test_the_last_set_up_region_is_never_retired() -> None:
    alone = RegionBank((region(1, (1, 0, 0), prior=1.0),), origins())
    driven = Driven(bank=alone, regions=(1,))
    assert driven.feed(900, regions=(1,), setup_region=99) == []


def test_regions_whose_centroids_came_to_coincide_merge() -> None:
    driven = Driven()
    driven.feed(64)
    driven.bank = driven.bank.changed(region(2, (1, 0.01, 0), version=1))
    driven.monitor.apply(Outcome("unknown", Operation.EXPAND, 2, True, ""), driven.bank)
    driven.monitor.state.regions[2].region = driven.bank[2]
    (edit,) = driven.monitor.decide()
    assert edit.operation is Operation.MERGE
    assert {edit.region_id, edit.other_region_id} == {1, 2}
    assert edit.reason["statistic"] < edit.reason["threshold"]
    assert driven.regions_of(edit) == {edit.other_region_id}
    driven.settle(edit, published=False)
    assert driven.monitor.decide() == [], "the same again, at once"


def test_a_merge_with_a_region_of_few_windows_is_validated_on_those_of_the_kept_one_too() -> None:
    driven = Driven()
    driven.feed(64, regions=(1,))
    driven.feed(2, regions=(2,))
    driven.bank = driven.bank.changed(region(2, (1, 0.01, 0), version=1))
    driven.monitor.set_bank(driven.bank)
    (edit,) = driven.monitor.decide()
    assert (edit.operation, edit.region_id, edit.other_region_id) == (Operation.MERGE, 1, 2)
    assert len(edit.windows) == driven.settings.edits.boundary_windows
    assert driven.regions_of(edit) == {1, 2}


def test_regions_that_were_near_from_the_start_do_not_merge() -> None:
    near = RegionBank((region(1, (1, 0, 0)), region(2, (1, 0.01, 0))), origins())
    assert Driven(bank=near).feed(200) == []


# --- bounds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1.0, 2.0])
def test_the_budget_is_never_exceeded(budget: float) -> None:
    driven = Driven(config(f"edits.passes_per_event={budget}"))
    driven.feed(50)
    for _ in range(300):
        regions = (1, 2, *driven.bank.origins.origins)
        driven.feed(1, regions, verdict=lambda e: True, loss=STRANGE + driven.rng.random())  # noqa: ARG005
        assert driven.monitor.trained_windows <= budget * driven.monitor.at_event
    assert driven.monitor.trained_windows > 0


@pytest.mark.parametrize("steps", [1, 30, 10_000])
def test_an_add_trains_as_long_as_it_takes_and_the_budget_was_saved(steps: int) -> None:
    quiet = ("edits.passes_per_event=2", "training.batch_size=16", "edits.held_out=0.1")
    driven = Driven(config(f"edits.add_steps={steps}", *quiet))
    driven.feed(300)
    (edit, *_) = (e for e in driven.feed(200, loss=STRANGE) if e.operation is Operation.ADD)
    learned = 0.9 * len(edit.windows)
    saved = 2.0 * edit.at_event
    wanted = math.ceil(steps * 16 / learned)
    assert edit.passes == max(2, min(wanted, int(saved / learned)))
    assert edit.passes * learned <= saved
    assert {1: edit.passes == 2, 30: 2 < edit.passes == wanted, 10_000: 2 < edit.passes < wanted}[steps]


@pytest.mark.parametrize("steps", [1, 10_000])
def test_a_region_more_is_opened_only_where_the_budget_pays_for_all_of_its_training(steps: int) -> None:
    driven = opened(f"edits.add_steps={steps}", "edits.passes_per_event=2", "training.batch_size=16")
    driven.feed(100, verdict=refuse_audits)
    accept_updates: Verdict = lambda e: e.operation is Operation.UPDATE  # noqa: E731
    asked = {e.operation for _ in range(300) for e in driven.feed(1, loss_in_2=STRANGE, verdict=accept_updates)}
    assert Operation.UPDATE in asked, "what is new is learned all the same"
    assert (Operation.ADD in asked) == (steps == 1)


def test_a_region_id_is_never_issued_twice() -> None:
    driven = Driven(config("edits.cool_down=0"))
    driven.feed(100)
    made: list[Edit] = []
    for level in range(1, 5):
        made += driven.feed(300, verdict=lambda e: False, loss=STRANGE * 2**level)  # noqa: ARG005
    adds = [e.region_id for e in made if e.operation is Operation.ADD]
    assert len(adds) >= 3
    assert adds == list(range(3, 3 + len(adds)))


def test_the_number_of_regions_is_bounded() -> None:
    driven = Driven(config("edits.max_regions=3", "edits.cool_down=0"))
    driven.feed(100)
    for level in range(1, 6):
        driven.feed(200, verdict=lambda e: e.operation is Operation.ADD, loss=STRANGE * 2**level)
    assert len(driven.bank.live) == 3


def test_after_a_rejected_edit_the_next_needs_more_evidence() -> None:
    driven = Driven(config("edits.cool_down=0"))
    driven.feed(100)
    made = []
    for level in range(1, 4):
        made += driven.feed(300, (1,), verdict=lambda e: False, loss=STRANGE * 2**level)  # noqa: ARG005
    sizes = [len(e.windows) for e in made if e.operation is Operation.ADD]
    assert len(sizes) >= 2
    assert sizes[1] >= 64


def test_a_rejected_add_keeps_the_alarm_for_twice_the_windows_until_the_third() -> None:
    driven = Driven()
    driven.feed(100)
    made = driven.feed(250, (1,), verdict=lambda e: False, loss=STRANGE)  # noqa: ARG005
    first, second, third = ({e.event_id for e in add.windows} for add in made)
    raised, _ = driven.monitor.state.regions[1].raised["loss"]
    assert raised > made[-1].at_event, "the alarm was reset; this is another"
    least = driven.settings.edits.min_windows
    assert first < second < third
    assert len(second) >= 2 * least
    assert len(third) >= 4 * least


def test_after_a_rejected_update_the_next_waits_for_as_many_windows_more() -> None:
    driven = opened()
    made = driven.feed(400, regions=(3,), verdict=lambda e: False)  # noqa: ARG005
    sizes = [len(e.windows) for e in made if e.operation is Operation.UPDATE]
    assert len(sizes) >= 3
    assert all(later >= 2 * one for one, later in pairwise(sizes))
    first = next(e for e in driven.feed(400, regions=(3,), verdict=refuse_audits) if e.operation is Operation.UPDATE)
    after = [e for e in driven.feed(200, regions=(3,)) if e.operation is Operation.UPDATE]
    assert after and len(after[0].windows) < len(first.windows), "after an accepted one the usual number is enough"


# --- statistics ---------------------------------------------------------------------------------------------


def test_every_event_is_counted_in_one_region() -> None:
    driven = Driven()
    driven.feed(100)
    for _ in range(30):
        driven.show(1, cold=True)
    rows = driven.monitor.statistics()
    assert {row["region_id"]: row["windows"] for row in rows} == {1: 130, 2: 100}
    assert driven.monitor.statistics() == []
    driven.feed(7)
    assert {row["region_id"]: row["windows"] for row in driven.monitor.statistics()} == {1: 7, 2: 7}
    assert driven.monitor.at_event == len(driven.shown)


def test_the_events_of_a_region_that_ended_are_counted_all_the_same() -> None:
    driven = Driven()
    driven.feed(100)
    (edit,) = driven.feed(500, regions=(1,), verdict=lambda e: True)  # noqa: ARG005
    assert edit.operation is Operation.RETIRE
    rows = {row["region_id"]: row["windows"] for row in driven.monitor.statistics()}
    assert rows == {1: 600, 2: 100}
    driven.feed(5, regions=(1,))
    assert {row["region_id"] for row in driven.monitor.statistics()} == {1}


def test_statistics_are_means_of_the_scores() -> None:
    driven = Driven()
    driven.feed(50, confidence=0.75, margin_in_1=0.1, margin_in_2=0.6, angle_in_1=9.0, angle_in_2=0.0)
    one, two = driven.monitor.statistics()
    assert (one["confidence"], one["margin"], one["doubtful_share"]) == pytest.approx((0.75, 0.1, 1.0))
    assert (two["margin"], two["doubtful_share"], two["novelty"]) == pytest.approx((0.6, 0.0, 1.0))
    assert one["novelty"] == pytest.approx(1 / 301)
    assert (one["origin"], one["at_event"]) == (Origin.BASE, 100)


def test_separability_is_measured_once_in_a_number_of_windows() -> None:
    driven = Driven(config("monitor.telling_windows=128"))
    driven.feed(127)
    assert driven.monitor.separabilities() == {}
    driven.feed(1, (1,))
    assert driven.monitor.separabilities() == {1: pytest.approx(0.5, abs=0.2)}
    rows = {row["region_id"]: row["told_apart"] for row in driven.monitor.statistics()}
    assert rows == {1: driven.monitor.separabilities()[1], 2: None}


def test_stream_regions_have_no_separability() -> None:
    driven = opened()
    driven.feed(1_100, (3,))
    assert driven.monitor.separabilities() == {}


def test_separability_shows_falls_that_raise_no_alarm() -> None:
    # Scores that fall are no alarm: only the two-sample statistic sees that they are not those of set-up.
    measured, edits = [], []
    for loss in (3.0, -1.0):
        driven = Driven(config("monitor.telling_windows=128"))
        edits += driven.feed(128, (1,), loss=loss + driven.rng.normal(0.0, 0.1))
        measured.append(driven.monitor.separabilities()[1])
    assert edits == []
    assert measured[1] > 0.95


def test_separability_can_be_switched_off_and_changes_no_edit() -> None:
    def edits(windows: int) -> tuple[list[Edit], dict[int, float]]:
        driven = Driven(config(f"monitor.telling_windows={windows}"))
        driven.feed(100)
        driven.feed(200, verdict=refuse_audits, loss_in_1=STRANGE)
        return driven.edits, driven.monitor.separabilities()

    never, often = edits(0), edits(32)
    assert never[0] == often[0] != []
    assert never[1] == {}
    assert often[1][1] > 0.9


def test_shares_are_of_the_newest_visits_and_of_those_in_stream_regions() -> None:
    driven = opened()
    driven.feed(80, (1, 1, 1, 2, 3))
    # One visit in five is counted in the stream region, and its set-up region is 1 as for three others.
    shares = driven.monitor.shares()
    assert {region_id: share.own for region_id, share in shares.items()} == {1: 0.6, 2: 0.2, 3: 0.2}
    assert {region_id: share.since for region_id, share in shares.items()} == {1: 0.25, 2: 0.0, 3: 0.0}
    rows = {row["region_id"]: (row["share"], row["since_share"]) for row in driven.monitor.statistics()}
    assert rows == {region_id: tuple(share) for region_id, share in shares.items()}


def test_cold_events_raise_no_alarm() -> None:
    driven = Driven()
    driven.feed(100)
    assert driven.feed(400, cold=True, loss=STRANGE, angle=3.0, rarity=0.0) == []


def test_no_decision_depends_on_a_time_stamp() -> None:
    skewed = np.random.default_rng(0).choice([0.0, 1.6e9, 4.07e9], size=100_000)

    def decisions(timestamps: Callable[[int], float]) -> list[object]:
        driven = Driven(timestamps=timestamps)
        driven.feed(100)
        driven.feed(200, verdict=refuse_audits, loss_in_1=STRANGE)
        driven.feed(200, regions=(1, 2, 3), verdict=refuse_audits)
        return [replace(e, timestamp=0.0) for e in driven.edits]

    usual = decisions(lambda n: 1.6e9 + n)
    assert len(usual) >= 3
    assert decisions(lambda n: float(skewed[n])) == usual


def test_the_same_records_give_the_same_edits() -> None:
    made = []
    for _ in range(2):
        driven = opened()
        driven.feed(200, regions=(1, 2, 3), verdict=refuse_audits, loss_in_2=STRANGE)
        made.append(driven.edits)
    assert made[0] == made[1]
    assert len({e.edit_id for e in made[0]}) == len(made[0])
