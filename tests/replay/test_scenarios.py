"""The method on simulated logs whose drifts are known: what it edits, when, and what it leaves alone."""

from pathlib import Path

import numpy as np
import pytest

from consumers.gate import GateHandler
from pipeline.edits import Operation
from pipeline.regions import SET_UP
from pipeline.routing import next_item_probabilities
from pipeline.strategies.raie import Raie
from tests.replay import world

SEEDS = range(5)
SOON = 2_000
"""Events after the drift began."""


def run(scenario: str, seed: int, tmp_path: Path) -> Raie:
    raie = world.run(scenario, seed, tmp_path)
    raie.close()
    return raie


def when(raie: Raie, scenario: str, seed: int, *operations: Operation) -> list[int]:
    """Events after the drift began at which an affected region was edited so."""
    start = world.drift_event(scenario, seed)
    return [
        edit.at_event - start
        for edit, outcome in world.published(raie)
        if outcome.operation in operations and world.affected_share(edit, scenario, seed) >= 0.5
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_happens_where_nothing_changes(seed: int, tmp_path: Path) -> None:
    edits = world.published(run("quiet", seed, tmp_path))
    assert not [edit for edit, _ in edits if edit.operation is Operation.ADD]
    assert len(edits) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_change_in_one_region_opens_one_there_and_edits_no_other(seed: int, tmp_path: Path) -> None:
    raie = run("one_region", seed, tmp_path)
    soon = when(raie, "one_region", seed, Operation.ADD, Operation.UPDATE, Operation.EXPAND)
    assert soon and 0 <= soon[0] <= SOON
    assert all(world.affected_share(edit, "one_region", seed) >= 0.5 for edit, _ in world.published(raie))
    assert len(raie.live.bank.opened) == 1


@pytest.mark.parametrize("scenario", ["emerging", "new_items"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_new_opens_a_region_after_it_came(scenario: str, seed: int, tmp_path: Path) -> None:
    raie = run(scenario, seed, tmp_path)
    start = world.drift_event(scenario, seed)
    adds = [edit.at_event - start for edit, outcome in world.published(raie) if outcome.operation is Operation.ADD]
    assert adds and adds[0] > 0
    assert raie.live.bank.opened


def test_a_shift_between_known_regions_moves_their_boundary(tmp_path: Path) -> None:
    delays = []
    for seed in SEEDS:
        raie = run("sudden", seed, tmp_path / str(seed))
        expands = when(raie, "sudden", seed, Operation.EXPAND)
        assert expands and expands[0] > 0
        delays.append(expands[0])
        assert all(
            world.affected_share(edit, "sudden", seed) >= 0.5
            for edit, _ in world.published(raie)
            if edit.operation is not Operation.RETIRE
        )
        assert not raie.live.bank.opened
    # Some ten users must have moved before chance is ruled out; that takes longer where few are active.
    assert sum(delay <= SOON for delay in delays) >= 4, delays


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gradual_shift_is_answered_where_it_happens(seed: int, tmp_path: Path) -> None:
    raie = run("gradual", seed, tmp_path)
    ended = {edit.region_id for edit, _ in world.published(raie) if edit.operation is Operation.RETIRE}
    assert when(raie, "gradual", seed, Operation.EXPAND, Operation.ADD) or ended
    assert all(
        world.affected_share(edit, "gradual", seed) >= 0.5
        for edit, outcome in world.published(raie)
        if edit.reason["signal"] in ("shift", "doubt", "loss", "rarity")
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_taste_that_vanished_is_retired(seed: int, tmp_path: Path) -> None:
    raie = run("vanishing", seed, tmp_path)
    retired = [edit for edit, _ in world.published(raie) if edit.operation is Operation.RETIRE]
    assert len(retired) == 1
    assert retired[0].at_event > world.drift_event("vanishing", seed)
    assert not [edit for edit, _ in world.published(raie) if edit.operation is Operation.ADD]


def test_users_outside_the_changed_region_are_answered_as_before_to_the_bit(tmp_path: Path) -> None:
    raie = run("one_region", 0, tmp_path)
    contexts = world.stream("one_region", 0)[1].contexts[-512:]
    setup = world.made_for(0, *world.bounds("one_region", 0))
    answers = GateHandler(setup, world.config(), raie.live).answer(contexts)
    static = next_item_probabilities(raie.live.host, contexts, None).numpy()
    outside = answers.route[:, 0] == 1.0
    assert 0.3 < outside.mean() < 1.0
    assert np.array_equal(answers.probabilities[outside], static[outside])
    assert not np.array_equal(answers.probabilities[~outside], static[~outside])


def test_the_same_seed_gives_the_same_ledger(tmp_path: Path) -> None:
    first, second = (run("one_region", 1, tmp_path / name) for name in ("a", "b"))
    assert [(e.to_record(), o.to_record()) for e, o in first.ledger] == [
        (e.to_record(), o.to_record()) for e, o in second.ledger
    ]
    assert [r.origin for r in first.live.bank.regions].count(SET_UP) == 6
