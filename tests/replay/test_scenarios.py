"""The method on simulated logs whose drifts are known: what is new gets a region, and the rest is left alone."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.events.edit import Operation
from pipeline.recommend.event_scorer import EventScorer
from pipeline.regions.mixing import next_item_probabilities
from pipeline.regions.region import Origin
from tests.replay import world


@pytest.mark.parametrize("seed", world.SEEDS)
def test_nothing_happens_where_nothing_changes(seed: int, run: world.Run) -> None:
    edits = world.published(run("quiet", seed))
    assert not [edit for edit, _ in edits if edit.operation is Operation.ADD]
    assert len(edits) <= 2


@pytest.mark.parametrize("seed", world.SEEDS)
def test_a_change_in_one_region_opens_one_there_and_edits_no_other(seed: int, run: world.Run) -> None:
    raie = run("one_region", seed)
    soon = world.edited(raie, "one_region", seed, Operation.ADD, Operation.UPDATE, Operation.EXPAND)
    assert soon and 0 <= soon[0] <= world.SOON
    assert all(world.affected_share(edit, "one_region", seed) >= 0.5 for edit, _ in world.published(raie))
    assert len(raie.live.bank.stream) == 1


@pytest.mark.parametrize("scenario", ["emerging", "new_items"])
@pytest.mark.parametrize("seed", world.SEEDS)
def test_what_is_new_opens_a_region_after_it_came(scenario: str, seed: int, tmp_path: Path) -> None:
    # It comes in the third of twelve parts.
    raie = world.run(scenario, seed, tmp_path, parts=world.PARTS if world.LONG else 6)
    raie.close()
    start = world.drift_event(scenario, seed)
    adds = [edit.at_event - start for edit, outcome in world.published(raie) if outcome.operation is Operation.ADD]
    assert adds and adds[0] > 0
    assert raie.live.bank.stream


def test_users_outside_the_changed_region_are_answered_as_before_to_the_bit(run: world.Run) -> None:
    raie = run("one_region", 0)
    windows, existence = raie._items.of(world.stream("one_region", 0)[1][slice(-512, None)])
    setup = world.made_for(0, *world.bounds("one_region", 0))
    gate = EventScorer(setup, world.config(), raie.live, raie._items.catalogue)
    # The trend is everybody's: what an edit leaves as it was is the model's answer.
    gate.online = None
    answers = gate.score(windows, existence)
    static = next_item_probabilities(raie.live.host, windows.contexts, None, existence).numpy()
    outside = answers.route[:, 0] == 1.0
    assert 0.3 < outside.mean() < 1.0
    assert np.array_equal(answers.scores.probabilities[outside], static[outside])
    assert not np.array_equal(answers.scores.probabilities[~outside], static[~outside])


def test_the_same_seed_gives_the_same_ledger(run: world.Run, tmp_path: Path) -> None:
    # Half of the stream: edits of every outcome are among those.
    first, second = run("one_region", 0), world.run("one_region", 0, tmp_path, parts=6)
    second.close()
    begun = [(e.to_record(), o.to_record()) for e, o in second.ledger]
    assert {outcome.published for _, outcome in second.ledger} == {True, False}
    assert begun == [(e.to_record(), o.to_record()) for e, o in first.ledger[: len(begun)]]
    assert [r.origin for r in first.live.bank.regions].count(Origin.BASE) == 6
