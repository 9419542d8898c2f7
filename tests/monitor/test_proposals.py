"""Rules propose and change nothing; the monitor issues ids, and keeps the highest share of visits."""

import json
from collections.abc import Callable
from typing import Any

from pipeline.events.edit import Edit, Evidence, Operation
from pipeline.monitor import Monitor
from pipeline.monitor.edit_factory import MOST_SAMPLES, Proposal, boundary_samples, new_edit
from pipeline.monitor.monitor import BOUNDARY
from pipeline.monitor.rules.update import updates
from pipeline.monitor.snapshot import snapshot
from pipeline.monitor.visits import record_peaks, visit_shares
from tests.monitor.test_monitor import STRANGE, Driven, opened


def written(monitor: Monitor) -> str:
    return json.dumps(snapshot(monitor), sort_keys=True)


def proposals(driven: Driven) -> list[Proposal]:
    """Every proposal that the state calls for, whatever comes first."""
    state = driven.monitor.state
    return updates(state, lambda _: True) + [proposal for rule in BOUNDARY for proposal in rule(state)]


def test_rules_change_nothing_and_propose_the_same_again() -> None:
    driven, seen = opened(), set[Operation]()
    verdict: Callable[[Edit], bool] = lambda e: e.operation is Operation.UPDATE  # noqa: E731
    for step in range(60):
        scores: dict[str, Any] = {"loss_in_2": STRANGE} if step > 20 else {}
        driven.feed(10, regions=(1, 2, 3), verdict=verdict, **scores)
        before, first = written(driven.monitor), proposals(driven)
        assert proposals(driven) == first
        assert written(driven.monitor) == before
        seen |= {proposal.operation for proposal in first}
    assert {Operation.ADD, Operation.UPDATE, Operation.EXPAND} <= seen


def test_a_new_region_gets_the_next_id_and_its_windows_that_label() -> None:
    state = Driven().monitor.state
    windows = [Evidence("a", 1, 1), Evidence("b", 2, 2)]
    proposal = Proposal(Operation.ADD, None, {"signal": "loss", "regions": [1, 2]}, windows, passes=3)
    edit = new_edit(state, proposal, 7)
    assert (edit.region_id, edit.base_version, edit.passes) == (7, 0, 3)
    assert edit.windows == (Evidence("a", 1, 7), Evidence("b", 2, 7))
    assert state.pending == {}


def test_a_boundary_is_fitted_to_one_window_a_region_where_there_are_more_regions_than_room() -> None:
    state = opened().monitor.state
    one = state.regions[3]
    assert len(boundary_samples(state)) == len(one.sample) > 1
    state.regions |= dict.fromkeys(range(4, MOST_SAMPLES + 4), one)
    assert boundary_samples(state) == [one.sample[-1]]


def test_the_highest_share_of_visits_is_kept_until_a_retired_region() -> None:
    driven = opened()
    driven.feed(200, regions=(1, 1, 2, 3))
    state = driven.monitor.state
    assert {i: w.peak_share for i, w in state.regions.items()} != (shares := visit_shares(state))
    for region_state in state.regions.values():
        region_state.peak_share = 0.0
    record_peaks(state, Proposal(Operation.RETIRE, state.regions[2].region, {}))
    assert {i: w.peak_share for i, w in state.regions.items()} == {**shares, 3: 0.0}
    record_peaks(state, Proposal(Operation.EXPAND, state.regions[2].region, {}))
    assert {i: w.peak_share for i, w in state.regions.items()} == shares


def test_shares_need_a_full_window_of_visits() -> None:
    driven = Driven()
    driven.feed(199)
    assert visit_shares(driven.monitor.state) == {}
    driven.feed(1)
    assert visit_shares(driven.monitor.state) == {1: 0.5, 2: 0.5}
