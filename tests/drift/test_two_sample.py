"""The two-sample statistic: 0.5 without drift, near 1 after one."""

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.drift.two_sample import area_under_roc, compare_samples

FEATURES = 5


def windows(rng: np.random.Generator, n: int, shift: float = 0.0) -> Array:
    found: Array = rng.normal(size=(n, FEATURES))
    found[:, 0] += shift
    return found


def test_without_drift_it_is_a_half() -> None:
    standard = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        result = compare_samples(windows(rng, 200), windows(rng, 80), windows(rng, 60), 1e-2, seed)
        standard.append((result.auc - 0.5) / result.error)
    assert abs(np.mean(standard)) < 3 / np.sqrt(60)
    assert 0.7 < np.std(standard) < 1.3


@pytest.mark.parametrize(("shift", "least"), [(1.0, 0.68), (4.0, 0.98)])
def test_after_a_drift_it_is_high(shift: float, least: float) -> None:
    rng = np.random.default_rng(0)
    result = compare_samples(windows(rng, 400), windows(rng, 200, shift), windows(rng, 200, shift), 1e-2, 0)
    assert result.auc > least


def test_after_a_drift_that_ended_it_is_a_half() -> None:
    rng = np.random.default_rng(0)
    result = compare_samples(windows(rng, 400), windows(rng, 200, 2.0), windows(rng, 200), 1e-2, 0)
    assert abs(result.auc - 0.5) < 4 * result.error


def test_the_area_counts_pairs_and_halves_ties() -> None:
    assert area_under_roc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == (0.5 + 1 + 1 + 1) / 4


def test_too_few_windows_are_refused_with_their_numbers() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="20 set-up, 3 older and 40 newer"):
        compare_samples(windows(rng, 20), windows(rng, 3), windows(rng, 40), 1e-2, 0)
