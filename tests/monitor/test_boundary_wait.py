"""Boundaries move also where some Update is always under way, as it is with many regions."""

import math
from collections import deque
from itertools import cycle

import pytest

from adapters_store import version_name
from pipeline.events.edit import Edit, Operation
from pipeline.monitor.snapshot import restore, snapshot
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Origin, Region
from tests.monitor.test_monitor import STRANGE, Driven, config, origins, region, two_regions

DRIFT = 100
"""Round in which region 1 begins to drift."""

SOON, LATE = 96, 10**6
"""Events that a boundary waits for Updates."""

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


class Trained:
    """A monitor of two set-up regions and some of the stream, whose Updates take a while.

    In each round both set-up regions have an event, and stream regions have ten in turn.

    Args:
        regions: of the stream.
        rounds: that an Update takes.
        wait: setting `edits.boundary_wait`.
    """

    def __init__(self, regions: int, rounds: int, wait: int) -> None:
        opened = stream_regions(regions)
        ids = [one.region_id for one in opened]
        bank = RegionBank((*two_regions().regions, *opened), origins(*ids))
        settings = config(f"edits.boundary_wait={wait}", "edits.update_windows=32")
        self.driven, self.rounds, self.round = Driven(settings, bank), rounds, 0
        state = self.driven.monitor.state
        for one in opened:
            state.regions[one.region_id] = state.new_region_state(one, {})
        state.set_bank(bank)
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
        edits = self.driven.monitor.decide()
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


def test_an_add_comes_within_twice_the_events_while_many_regions_are_always_under_update() -> None:
    with_six = Trained(**FEW, wait=SOON).events_until_add()
    assert Trained(**MANY, wait=SOON).events_until_add() <= 2 * with_six
    # Without the wait it would not come at all.
    assert Trained(**MANY, wait=LATE).events_until_add() == math.inf


def test_where_updates_leave_room_the_wait_changes_nothing() -> None:
    soon, late = (Trained(**FEW, wait=wait) for wait in (SOON, LATE))
    for _ in range(200):
        assert [edit.edit_id for edit in soon.step()] == [edit.edit_id for edit in late.step()]


def test_updates_go_on_between_boundaries() -> None:
    held, free = (Trained(**MANY, wait=wait) for wait in (SOON, LATE))
    made, usual = ([edit.operation for _ in range(200) for edit in each.step()] for each in (held, free))
    assert Operation.ADD in made and Operation.ADD not in usual
    assert made.count(Operation.UPDATE) > usual.count(Operation.UPDATE) / 2


@pytest.mark.parametrize("rounds", [DRIFT + 30, DRIFT + 60])
def test_a_restored_monitor_holds_updates_back_as_the_one_before(rounds: int) -> None:
    trained = Trained(**MANY, wait=SOON)
    for _ in range(rounds):
        trained.step()
    state = snapshot(trained.driven.monitor)
    again = Driven(trained.driven.settings, two_regions())
    restore(again.monitor, state, trained.driven.bank)
    assert snapshot(again.monitor) == state
    for name in ("boundaries_at", "holds_back"):
        assert getattr(again.monitor.state, name) == getattr(trained.driven.monitor.state, name)
