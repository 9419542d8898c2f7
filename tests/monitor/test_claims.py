"""Edits of different regions are pending together; boundaries wait for edits of their own regions alone."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, cycle

import numpy as np
import pytest

from adapters_store import version_name
from pipeline.events.edit import Edit, Evidence, Operation
from pipeline.monitor.claims import Claims
from pipeline.monitor.edit_factory import Proposal
from pipeline.monitor.snapshot import restore, snapshot
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Origin, Region
from pipeline.regions.revision import Revision
from tests.monitor.test_monitor import STRANGE, Driven, config, origins, published_bank, region, two_regions

DRIFT = 100
"""Round in which region 1 begins to drift."""

OPENED = 10
"""Events of stream regions in each round."""

FEW, MANY = {"regions": 4, "rounds": 2}, {"regions": 16, "rounds": 10}
"""Regions of the stream, one of which needs an Update in every third round, and rounds that it takes."""


def stream_regions(n: int) -> list[Region]:
    """So many stream regions, spread over the sphere."""
    found = []
    for i in range(n):
        height, turn = 1 - (2 * i + 1) / n, i * math.pi * (3 - math.sqrt(5))
        centroid = (math.cos(turn) * math.sqrt(1 - height**2), math.sin(turn) * math.sqrt(1 - height**2), height)
        found.append(region(3 + i, centroid, Origin.STREAM, version=1, adapter=version_name(3 + i, 1)))
    return found


def with_stream_regions(n: int, *overrides: str) -> Driven:
    """A monitor of two set-up regions and so many of the stream."""
    opened_regions = stream_regions(n)
    bank = RegionBank((*two_regions().regions, *opened_regions), origins(*(one.region_id for one in opened_regions)))
    driven = Driven(config(*overrides), bank)
    state = driven.monitor.state
    for one in opened_regions:
        state.regions[one.region_id] = state.new_region_state(one, {})
    state.set_bank(bank)
    state.next_region_id = 3 + n
    return driven


def decided(driven: Driven) -> list[Edit]:
    """All edits that are due."""
    return list(iter_decided(driven))


def iter_decided(driven: Driven) -> Iterator[Edit]:
    while edits := driven.monitor.decide():
        yield from edits


class Trained:
    """A monitor of two set-up regions and some of the stream, whose Updates take a while.

    In each round both set-up regions have an event, and stream regions have ten in turn.

    Args:
        regions: of the stream.
        rounds: that an Update takes.
    """

    def __init__(self, regions: int, rounds: int) -> None:
        self.driven, self.rounds, self.round = with_stream_regions(regions, "edits.update_windows=32"), rounds, 0
        ids = self.driven.bank.origins.origins
        for place, region_id in enumerate(ids):
            for _ in range(32 * place // regions):
                self.driven.show(region_id)
        self._turns, self._training = cycle(ids), deque[tuple[int, Edit]]()

    def step(self) -> list[Edit]:
        """Show the events of a round, end the trainings that are due, and decide."""
        self.driven.show(1, **({"loss": STRANGE} if self.round >= DRIFT else {}))
        self.driven.show(2)
        for _ in range(OPENED):
            self.driven.show(next(self._turns))
        # What the opened regions could not answer, so that a region has to be added.
        self.driven.monitor.state.regions[1].expand_rejected = True
        self.round += 1
        while self._training and self._training[0][0] <= self.round:
            self.driven.settle(self._training.popleft()[1], published=True)
        edits = decided(self.driven)
        for edit in edits:
            if edit.operation is Operation.UPDATE:
                self._training.append((self.round + self.rounds, edit))
            else:
                self.driven.settle(edit, published=False)
        return edits

    def events_until_add(self, most: int = 300) -> float:
        """Events from the drift to the Add that answers it; infinite if it does not come."""
        while self.round < most:
            if any(edit.operation is Operation.ADD for edit in self.step()):
                return (2 + OPENED) * (self.round - DRIFT)
        return math.inf


@pytest.mark.parametrize("regions", [FEW, MANY])
def test_an_add_comes_with_its_evidence_however_many_regions_are_under_update(regions: dict[str, int]) -> None:
    """One event of each round is evidence for it."""
    trained = Trained(**regions)
    assert trained.events_until_add() <= (2 + OPENED) * trained.driven.settings.edits.min_windows


def test_no_region_stops_learning_for_the_boundaries_of_others() -> None:
    """Each of the regions has an Update for every 32 of its windows, whatever boundaries are due meanwhile."""
    trained = Trained(**MANY)
    made = [edit.operation for _ in range(300) for edit in trained.step()]
    assert Operation.ADD in made
    assert made.count(Operation.UPDATE) >= 300 * OPENED // 32 - 16


@pytest.mark.parametrize("rounds", [DRIFT + 30, DRIFT + 60])
def test_a_restored_monitor_decides_as_the_one_before(rounds: int) -> None:
    trained = Trained(**MANY)
    for _ in range(rounds):
        trained.step()
    state = snapshot(trained.driven.monitor)
    again = Driven(trained.driven.settings, two_regions())
    restore(again.monitor, state, trained.driven.bank)
    assert snapshot(again.monitor) == state
    assert [e.edit_id for e in decided(again)] == [e.edit_id for e in decided(trained.driven)]


def test_a_boundary_comes_before_the_next_update_of_a_region_that_always_has_one_due() -> None:
    driven = with_stream_regions(1, "edits.update_windows=32")
    update: Edit | None = None
    made: list[Edit] = []
    for _ in range(12):
        for _ in range(32):
            driven.show(3)
        # The Update ends when the next one is due; so does the boundary's, at once.
        for edit in [update] if update else []:
            driven.settle(edit, published=True)
        edits = decided(driven)
        made += edits
        update = next((e for e in edits if e.operation is Operation.UPDATE), None)
        for edit in edits:
            if edit.operation is not Operation.UPDATE:
                driven.settle(edit, published=True)
    operations = [e.operation for e in made]
    assert operations.count(Operation.EXPAND) >= 3
    assert operations.count(Operation.UPDATE) >= 6


def test_a_waiting_boundary_survives_a_restart() -> None:
    driven = with_stream_regions(1, "edits.update_windows=32")
    for _ in range(32):
        driven.show(3)
    (update,) = decided(driven)
    assert update.operation is Operation.UPDATE
    for _ in range(32):
        driven.show(3)
    assert decided(driven) == [] and driven.monitor.state.boundary_waits
    driven.bank = published_bank(driven.bank, update)
    again = Driven(driven.settings, two_regions())
    restore(again.monitor, snapshot(driven.monitor), driven.bank)
    again.bank = driven.bank
    for each in (driven, again):
        each.settle(update, published=False)
    first = [[e.edit_id for e in each.monitor.decide()] for each in (driven, again)]
    assert first[0] == first[1]
    assert [e.operation for e in driven.monitor.pending.values()] == [Operation.EXPAND]


def test_pending_edits_never_touch_one_region() -> None:
    driven = with_stream_regions(6)
    rng = np.random.default_rng(0)
    together = set[frozenset[Operation]]()
    for step in range(400):
        strange = {"loss": STRANGE} if step % 100 > 50 else {}
        narrow = {"setup_margin": 0.01} if step % 80 > 60 else {}
        for region_id in (1, 2, *driven.bank.origins.origins):
            driven.show(region_id, **(strange | narrow if region_id < 3 else {}))
        for region_id in (1, 2):
            driven.monitor.state.regions[region_id].expand_rejected = True
        decided(driven)
        pending = list(driven.monitor.pending.values())
        for one, two in combinations(pending, 2):
            assert one.touched.isdisjoint(two.touched)
            together.add(frozenset({one.operation, two.operation}))
        claims = Claims(driven.monitor.state)
        assert sum(claims.refits(e) for e in pending) <= 1
        for edit in pending:
            if rng.random() < 0.05:
                driven.settle(edit, published=bool(rng.random() < 0.7))
    assert frozenset({Operation.UPDATE, Operation.EXPAND}) in together
    assert frozenset({Operation.UPDATE, Operation.ADD}) in together


def proposed(operation: Operation, region_id: int | None, other: int | None = None, **reason: object) -> Proposal:
    """A proposal on the windows a and b."""
    windows = [Evidence("a", 1, 1), Evidence("b", 2, 2)]
    bank = with_stream_regions(3).bank
    changed = None if region_id is None else bank[region_id]
    return Proposal(operation, changed, {"signal": "loss", **reason}, windows, other)


@pytest.mark.parametrize(
    ("pending", "proposal", "allowed"),
    [
        ((Operation.UPDATE, 3, None), proposed(Operation.EXPAND, 4), True),
        ((Operation.UPDATE, 3, None), proposed(Operation.EXPAND, 3), False),
        ((Operation.UPDATE, 3, None), proposed(Operation.MERGE, 4, 3), False),
        ((Operation.UPDATE, 3, None), proposed(Operation.RETIRE, 4), True),
        ((Operation.EXPAND, 1, 2), proposed(Operation.ADD, None, regions=[1]), False),
        ((Operation.EXPAND, 1, 2), proposed(Operation.ADD, None, regions=[3]), True),
        ((Operation.EXPAND, 3, None), proposed(Operation.ADD, None, regions=[1]), False),
        ((Operation.EXPAND, 3, None), proposed(Operation.RETIRE, 4), False),
        ((Operation.EXPAND, 3, None), proposed(Operation.RETIRE, 1), True),
        ((Operation.RETIRE, 4, None), proposed(Operation.EXPAND, 1, 2), True),
        ((Operation.INJECT, 0, None), proposed(Operation.EXPAND, 3), True),
    ],
)
def test_an_edit_waits_for_those_that_touch_its_regions_or_the_classifier(
    pending: tuple[Operation, int, int | None], proposal: Proposal, allowed: bool
) -> None:
    state = with_stream_regions(3).monitor.state
    operation, region_id, other = pending
    state.pending["p"] = Edit("p", operation, region_id, other, 0, 0, {"signal": "x"}, (), (), 0, 0.0, 0)
    assert Claims(state).allows(proposal) is allowed


def test_an_add_and_an_update_of_a_region_that_may_be_its_parent_wait_for_each_other() -> None:
    state = with_stream_regions(3).monitor.state
    add = proposed(Operation.ADD, None, regions=[1])
    state.regions[4].sample.append(Evidence("b", 2, 4))
    state.pending["u"] = Edit("u", Operation.UPDATE, 4, None, 1, 0, {"signal": "x"}, (), (), 0, 0.0, 0)
    assert not Claims(state).allows(add)
    state.pending = {"a": Edit("a", Operation.ADD, 9, None, 0, 0, add.reason, tuple(add.windows), (), 0, 0.0, 0)}
    assert [Claims(state).is_free(state.regions[i]) for i in (3, 4, 5)] == [True, False, True]
    state.pending = {}
    (waiting := Claims(state)).hold(add)
    assert [waiting.is_free(state.regions[i]) for i in (3, 4, 5)] == [True, False, True]


def test_two_regions_are_not_retired_at_once_where_one_would_be_left_of_neither() -> None:
    driven = Driven()
    driven.feed(100)
    for _ in range(500):
        driven.show(1, setup_region=99)
    made = decided(driven)
    assert [e.operation for e in made] == [Operation.RETIRE]


def test_revisions_of_edits_that_were_pending_together_fit_in_any_order() -> None:
    """Trainers carry edits out in whatever order, each on regions that others may change before it is published."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        bank = with_stream_regions(4).bank
        add = Edit("a", Operation.ADD, 7, None, 0, 0, {"signal": "loss", "regions": [1]}, (), (), 0, 0.0, 0)
        made = [
            add,
            *(replace(add, operation=Operation.UPDATE, region_id=i, reason={"signal": "x"}) for i in (3, 4, 5)),
        ]
        revisions = []
        for edit in made:
            after = published_bank(bank, edit)
            changed = tuple(r for r in after.regions if r is not bank.find(r.region_id))
            revisions.append((edit, Revision.of(after, changed, after.gate_version != bank.gate_version)))
        now = bank
        for place in rng.permutation(len(made)):
            edit, revision = revisions[place]
            others = [each for i, (_, each) in enumerate(revisions) if i != place]
            assert not any(revision.conflicts_with(other, edit.touched) for other in others)
            now = revision.after(now)
            assert now.gate_version >= bank.gate_version
        assert now.origins.origins == (3, 4, 5, 6, 7)
        assert (now.gate_version, [now[i].version for i in (3, 4, 5, 6, 7)]) == (1, [2, 2, 2, 1, 1])
