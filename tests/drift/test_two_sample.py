"""Telling newer windows from set-up windows: half right without drift, nearly always after one."""

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.drift.two_sample import area_under_roc, tell_apart

FEATURES = 5


def windows(rng: np.random.Generator, n: int, shift: float = 0.0) -> Array:
    found: Array = rng.normal(size=(n, FEATURES))
    found[:, 0] += shift
    return found


def test_without_drift_it_tells_them_apart_by_chance_alone() -> None:
    standard = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        told = tell_apart(windows(rng, 200), windows(rng, 80), windows(rng, 60), 1e-2, seed)
        standard.append((told.auc - 0.5) / told.error)
    assert abs(np.mean(standard)) < 3 / np.sqrt(60)
    assert 0.7 < np.std(standard) < 1.3


@pytest.mark.parametrize(("shift", "least"), [(1.0, 0.68), (4.0, 0.98)])
def test_after_a_drift_it_tells_them_apart(shift: float, least: float) -> None:
    rng = np.random.default_rng(0)
    told = tell_apart(windows(rng, 400), windows(rng, 200, shift), windows(rng, 200, shift), 1e-2, 0)
    assert told.auc > least


def test_a_drift_that_ended_is_told_by_nothing() -> None:
    rng = np.random.default_rng(0)
    told = tell_apart(windows(rng, 400), windows(rng, 200, 2.0), windows(rng, 200), 1e-2, 0)
    assert abs(told.auc - 0.5) < 4 * told.error


def test_the_area_counts_pairs_and_halves_ties() -> None:
    assert area_under_roc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == (0.5 + 1 + 1 + 1) / 4


def test_too_few_windows_are_refused_with_their_numbers() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="20 set-up, 3 older and 40 newer"):
        tell_apart(windows(rng, 20), windows(rng, 3), windows(rng, 40), 1e-2, 0)
