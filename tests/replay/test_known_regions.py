"""Simulated drifts among what set-up knew: boundaries move and regions end, and none is opened."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.events.edit import Operation
from pipeline.regions.region import Status
from pipeline.strategies.raie.replayed import Raie
from tests.replay import world


def edits_elsewhere(raie: Raie, scenario: str, seed: int) -> list[Operation]:
    """Published edits on windows of unaffected users; a Retire has no windows."""
    return [
        outcome.operation
        for edit, outcome in world.published(raie)
        if edit.windows and world.affected_share(edit, scenario, seed) < 0.5
    ]


@pytest.mark.parametrize("seed", world.SEEDS)
def test_a_shift_between_known_regions_moves_their_boundary(seed: int, run: world.Run) -> None:
    raie = run("sudden", seed)
    expands = world.edited(raie, "sudden", seed, Operation.EXPAND)
    assert expands and 0 <= expands[0] <= world.SOON
    assert not edits_elsewhere(raie, "sudden", seed)
    assert not raie.live.bank.stream


@pytest.mark.parametrize("seed", world.SEEDS)
def test_a_gradual_shift_is_answered_where_it_happens(seed: int, run: world.Run) -> None:
    raie = run("gradual", seed)
    soon = world.edited(raie, "gradual", seed, Operation.EXPAND, Operation.ADD, Operation.UPDATE)
    assert soon and 0 <= soon[0] <= world.SOON
    assert not edits_elsewhere(raie, "gradual", seed)


@pytest.mark.parametrize("seed", world.SEEDS)
def test_two_regions_that_were_driven_together_are_merged(seed: int, tmp_path: Path) -> None:
    """Boundaries have moved until two centroids nearly coincide; nothing else changes in the stream."""
    setup = world.made_for(seed, *world.bounds("quiet", seed))
    one, two = setup.bank.setup[0], setup.bank.setup[-1]
    centroid = one.centroid + 0.02 * two.centroid
    near = replace(one, region_id=two.region_id, version=1, centroid=centroid / np.linalg.norm(centroid))
    driven = replace(setup, bank=setup.bank.changed(near))
    # The merge is asked for by the first windows; a third of the stream shows that it stays the only one.
    raie = world.run("quiet", seed, tmp_path, driven, parts=4)
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


@pytest.mark.parametrize("seed", world.SEEDS)
def test_a_preference_that_vanished_is_retired(seed: int, run: world.Run) -> None:
    raie = run("vanishing", seed)
    retired = [edit for edit, _ in world.published(raie) if edit.operation is Operation.RETIRE]
    assert len(retired) == 1
    assert retired[0].at_event > world.drift_event("vanishing", seed)
    assert not [edit for edit, _ in world.published(raie) if edit.operation is Operation.ADD]
