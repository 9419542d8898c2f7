"""The method on simulated logs whose drifts are known: what it edits, when, and what it leaves alone."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from consumers.gate import GateHandler
from pipeline.edits import Operation
from pipeline.regions import SET_UP, Status
from pipeline.routing import next_item_probabilities
from pipeline.strategies.raie import Raie
from tests.replay import world

SEEDS = range(5 if os.environ.get("RAIE_ALL_SEEDS") else 1)
"""All five take many minutes: `RAIE_ALL_SEEDS=1 make test`."""
SOON = 2_000
"""Events after the drift began."""


Run = Callable[[str, int], Raie]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """RAIE after a scenario under a seed; each is run once, and only looked at."""

    @cache
    def once(scenario: str, seed: int) -> Raie:
        raie = world.run(scenario, seed, tmp_path_factory.mktemp(scenario))
        raie.close()
        return raie

    return once


def when(raie: Raie, scenario: str, seed: int, *operations: Operation) -> list[int]:
    """Events after the drift began at which an affected region was edited so."""
    start = world.drift_event(scenario, seed)
    return [
        edit.at_event - start
        for edit, outcome in world.published(raie)
        if outcome.operation in operations and world.affected_share(edit, scenario, seed) >= 0.5
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_happens_where_nothing_changes(seed: int, run: Run) -> None:
    edits = world.published(run("quiet", seed))
    assert not [edit for edit, _ in edits if edit.operation is Operation.ADD]
    assert len(edits) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_change_in_one_region_opens_one_there_and_edits_no_other(seed: int, run: Run) -> None:
    raie = run("one_region", seed)
    soon = when(raie, "one_region", seed, Operation.ADD, Operation.UPDATE, Operation.EXPAND)
    assert soon and 0 <= soon[0] <= SOON
    assert all(world.affected_share(edit, "one_region", seed) >= 0.5 for edit, _ in world.published(raie))
    assert len(raie.live.bank.opened) == 1


@pytest.mark.parametrize("scenario", ["emerging", "new_items"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_new_opens_a_region_after_it_came(scenario: str, seed: int, run: Run) -> None:
    raie = run(scenario, seed)
    start = world.drift_event(scenario, seed)
    adds = [edit.at_event - start for edit, outcome in world.published(raie) if outcome.operation is Operation.ADD]
    assert adds and adds[0] > 0
    assert raie.live.bank.opened


def edits_elsewhere(raie: Raie, scenario: str, seed: int) -> list[Operation]:
    """Published edits on windows of unaffected users; a Retire has no windows."""
    return [
        outcome.operation
        for edit, outcome in world.published(raie)
        if edit.windows and world.affected_share(edit, scenario, seed) < 0.5
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_shift_between_known_regions_moves_their_boundary(seed: int, run: Run) -> None:
    raie = run("sudden", seed)
    expands = when(raie, "sudden", seed, Operation.EXPAND)
    assert expands and 0 <= expands[0] <= SOON
    assert not edits_elsewhere(raie, "sudden", seed)
    assert not raie.live.bank.opened


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gradual_shift_is_answered_where_it_happens(seed: int, run: Run) -> None:
    raie = run("gradual", seed)
    soon = when(raie, "gradual", seed, Operation.EXPAND, Operation.ADD, Operation.UPDATE)
    assert soon and 0 <= soon[0] <= SOON
    assert not edits_elsewhere(raie, "gradual", seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_regions_that_were_driven_together_are_merged(seed: int, tmp_path: Path) -> None:
    """Boundaries have moved until two centroids nearly coincide; nothing else changes in the stream."""
    setup = world.made_for(seed, *world.bounds("quiet", seed))
    one, two = setup.bank.setup[0], setup.bank.setup[-1]
    centroid = one.centroid + 0.02 * two.centroid
    near = replace(one, region_id=two.region_id, version=1, centroid=centroid / np.linalg.norm(centroid))
    driven = replace(setup, bank=setup.bank.changed(near))
    raie = world.run("quiet", seed, tmp_path, driven)
    raie.close()
    pair = {one.region_id, two.region_id}
    merges = [
        outcome
        for edit, outcome in world.published(raie)
        if edit.operation is Operation.MERGE and {edit.region_id, edit.other_region_id} == pair
    ]
    assert len(merges) == 1
    assert merges[0].validation is not None
    statuses = {r.region_id: r.status for r in raie.live.bank.regions}
    assert Status.MERGED in {statuses[region_id] for region_id in pair}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_taste_that_vanished_is_retired(seed: int, run: Run) -> None:
    raie = run("vanishing", seed)
    retired = [edit for edit, _ in world.published(raie) if edit.operation is Operation.RETIRE]
    assert len(retired) == 1
    assert retired[0].at_event > world.drift_event("vanishing", seed)
    assert not [edit for edit, _ in world.published(raie) if edit.operation is Operation.ADD]


def test_users_outside_the_changed_region_are_answered_as_before_to_the_bit(run: Run) -> None:
    raie = run("one_region", 0)
    windows = world.stream("one_region", 0)[1][slice(-512, None)]
    setup = world.made_for(0, *world.bounds("one_region", 0))
    gate = GateHandler(setup, world.config(), raie.live)
    # The trend is everybody's: what an edit leaves as it was is the model's answer.
    gate.trending = None
    answers = gate.answer(windows)
    static = next_item_probabilities(raie.live.host, windows.contexts, None).numpy()
    outside = answers.route[:, 0] == 1.0
    assert 0.3 < outside.mean() < 1.0
    assert np.array_equal(answers.probabilities[outside], static[outside])
    assert not np.array_equal(answers.probabilities[~outside], static[~outside])


def test_the_same_seed_gives_the_same_ledger(run: Run, tmp_path: Path) -> None:
    first, second = run("one_region", 0), world.run("one_region", 0, tmp_path)
    second.close()
    assert [(e.to_record(), o.to_record()) for e, o in first.ledger] == [
        (e.to_record(), o.to_record()) for e, o in second.ledger
    ]
    assert [r.origin for r in first.live.bank.regions].count(SET_UP) == 6
