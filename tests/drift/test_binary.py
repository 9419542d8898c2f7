"""The detector of binary values: fair bets at any share, and earlier alarms on moves than by smooth bets."""

import math
from collections.abc import Iterable

import numpy as np
import pytest

from pipeline.drift import BinaryDetector, ConformalDetector, DriftDetector


def alarm_after(detector: DriftDetector, values: Iterable[bool]) -> float:
    """Values until the alarm; infinite if there was none."""
    for n, value in enumerate(values, start=1):
        detector.update(float(value))
        if detector.drift_detected:
            return n
    return math.inf


@pytest.mark.parametrize(("share", "reference"), [(0.01, 0), (0.01, 300), (0.2, 30), (0.6, 0), (0.9, 30)])
def test_quiet_streams_have_the_expected_run(share: float, reference: int) -> None:
    runs, length, expected_run = 200, 500, 200.0
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(runs):
        detector = BinaryDetector((rng.random(reference) < share).astype(float), expected_run)
        for value in (rng.random(length) < share).tolist():
            detector.update(float(value))
            if detector.drift_detected:
                alarms += 1
                detector.reset((rng.random(reference) < share).astype(float))
    expected = runs * length / expected_run
    assert alarms <= expected + 3 * math.sqrt(expected)


def test_averaged_over_the_prior_the_statistic_grows_by_one_a_value() -> None:
    steps, runs = 10, 8_000
    rng = np.random.default_rng(2)
    wealth = []
    for share in rng.beta(0.5, 0.5, runs):
        detector = BinaryDetector((), 1e6)
        for value in (rng.random(steps) < share).tolist():
            detector.update(float(value))
        wealth.append(math.exp(detector.statistic))
    assert np.mean(wealth) == pytest.approx(steps, abs=4 * np.std(wealth) / math.sqrt(runs))


def test_it_needs_half_the_values_that_the_smooth_bets_need() -> None:
    sooner = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        reference, after = (rng.random(300) < 0.01).astype(float), rng.random(400) < 0.21
        found = alarm_after(BinaryDetector(reference, 1e6), after)
        sooner.append(found / alarm_after(ConformalDetector(reference, 1e6, seed), after))
    assert np.median(sooner) < 0.65
    assert max(sooner) < 1.0


def test_a_dozen_movers_are_enough_where_one_in_a_hundred_moved() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        detector = BinaryDetector([1.0] * 3 + [0.0] * 297, 1e6)
        assert alarm_after(detector, rng.random(100) < 0.01) == math.inf
        found.append(alarm_after(detector, [place % 5 == 4 for place in range(60)]))
    assert np.median(found) <= 60


def test_fewer_ones_are_no_alarm() -> None:
    rng = np.random.default_rng(0)
    detector = BinaryDetector((rng.random(500) < 0.5).astype(float), 1e4)
    assert alarm_after(detector, rng.random(2_000) < 0.1) == math.inf


def test_whatever_is_not_zero_is_a_one() -> None:
    one, two = BinaryDetector([0.0, 2.0], 1e6), BinaryDetector([0.0, 1.0], 1e6)
    for detector, value in ((one, 7.0), (two, 1.0)):
        detector.update(value)
    assert one.statistic == two.statistic
