"""Edit effects: the interactions of each cell, and recovery of a simulated effect."""

from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.edit_effect import LEAST, StreamHits, affected_by, cells_of, estimate_effects
from pipeline.metrics.ranking import Floats

EVENTS = 4_000
MIDDLE = EVENTS // 2


def edit(at_event: int, operation: str = "add", region_id: int = 9, regions: tuple[int, ...] = (1,)) -> dict[str, Any]:
    return {
        "at_event": at_event,
        "operation": operation,
        "region_id": region_id,
        "other_region_id": None,
        "reason": {"regions": list(regions)} if regions else {},
    }


def stream(seed: int, *, of_edit: float = 0.0, of_all: float = 0.0, events: int = EVENTS) -> StreamHits:
    """Two set-up regions in turn; after the middle `raie` hits more: in region 1 by `of_edit`, in both by `of_all`."""
    rng = np.random.default_rng(seed)
    place = np.arange(events)
    region = 1 + place % 2
    late = place >= events // 2
    probability = 0.2 + late * (of_all + of_edit * (region == 1))
    hits: Floats = (rng.random(events) < probability).astype(np.float64)
    static: Floats = (rng.random(events) < 0.2).astype(np.float64)
    return StreamHits(rng.integers(0, 300, events), np.ones(events, dtype=bool), hits, static, region, region)


def test_a_simulated_effect_is_found() -> None:
    found, means = estimate_effects(stream(0, of_edit=0.3), [edit(MIDDLE)])
    assert found[0].interval is not None
    assert found[0].interval.low > 0.15
    assert found[0].interval.difference == pytest.approx(0.3, abs=0.1)
    assert means["all"] == means["add"] == found[0].interval


def test_a_gain_of_all_interactions_is_no_effect() -> None:
    found, _ = estimate_effects(stream(1, of_all=0.3), [edit(MIDDLE)])
    assert found[0].ours[:, 1] == pytest.approx(0.5, abs=0.06)
    assert found[0].interval is not None
    assert found[0].interval.low < 0 < found[0].interval.high


def test_the_difference_by_hand() -> None:
    scored = stream(2, of_edit=0.2)
    found, _ = estimate_effects(scored, [edit(MIDDLE)])
    gain, place = scored.ours - scored.static, np.arange(EVENTS)
    near = {True: (place >= MIDDLE) & (place < MIDDLE + 1_000), False: (place < MIDDLE) & (place >= MIDDLE - 1_000)}
    mean = {(t, late): gain[near[late] & (scored.setup_region == t)].mean() for t in (1, 2) for late in (True, False)}
    assert found[0].interval is not None
    by_hand = mean[1, True] - mean[1, False] - mean[2, True] + mean[2, False]
    assert found[0].interval.difference == pytest.approx(by_hand)


def test_the_interval_covers_no_effect_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        interval = estimate_effects(stream(100 + seed), [edit(MIDDLE)])[0][0].interval
        assert interval is not None
        held += interval.low <= 0.0 <= interval.high
    assert held >= 51


def test_an_update_is_of_what_its_region_answered_and_a_boundary_of_the_regions_it_names() -> None:
    scored = stream(3)
    answered = np.where(np.arange(EVENTS) < 100, 9, scored.region)
    scored = StreamHits(scored.user, scored.counted, scored.ours, scored.static, answered, scored.setup_region)
    assert affected_by(scored, edit(MIDDLE, "update", 9, ())).sum() == 100
    assert np.array_equal(affected_by(scored, edit(MIDDLE, "expand", 9, (2,))), scored.setup_region == 2)
    assert np.array_equal(affected_by(scored, edit(MIDDLE, "retire", 1, ())), scored.setup_region == 1)
    # An opened region whose boundary is refitted names no set-up region.
    assert affected_by(scored, edit(MIDDLE, "expand", 9, ())).sum() == 100


def test_untouched_is_what_no_edit_near_by_is_of() -> None:
    scored, one = stream(4), edit(MIDDLE)
    near, far = edit(MIDDLE + 900, regions=(2,)), edit(MIDDLE + 1_000, regions=(2,))
    assert cells_of(scored, one, [one, far], 1_000).sum(axis=1).tolist() == [500, 500, 500, 500]
    assert cells_of(scored, one, [one, near], 1_000).sum(axis=1).tolist() == [500, 500, 0, 0]
    found, means = estimate_effects(scored, [one, near])
    assert [effect.interval for effect in found] == [None, None]
    assert means == {}
    assert np.isnan(found[0].ours[1]).all()


def test_of_too_few_interactions_nothing_is_said() -> None:
    scored = stream(5)
    least = edit(2 * LEAST), edit(2 * LEAST - 1)
    known = [estimate_effects(scored, [one])[0][0].interval is not None for one in least]
    assert known == [True, False]


def test_users_without_history_do_not_count() -> None:
    scored = stream(6)
    counted = np.arange(EVENTS) % 4 < 2
    half = StreamHits(scored.user, counted, scored.ours, scored.static, scored.region, scored.setup_region)
    assert cells_of(half, edit(MIDDLE), [edit(MIDDLE)], 1_000).sum(axis=1).tolist() == [250, 250, 250, 250]
