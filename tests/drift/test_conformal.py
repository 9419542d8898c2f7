"""The conformal detector: uniform p-values, few false alarms by construction, alarms when scores rise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.drift.conformal import SMALLEST, ConformalDetector, smooth_bets
from pipeline.drift.conformal_ranks import BUFFERED, ConformalRanks

RUN = 1e6

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "ties": lambda rng, n: rng.integers(0, 3, n).astype(np.float64),
    "constant": lambda rng, n: np.full(n, 0.5),  # noqa: ARG005
}


def p_values(reference: NDArray[np.float64], values: NDArray[np.float64], seed: int = 0) -> list[float]:
    """The p-values that the detector bets on."""
    ranks = ConformalRanks(reference.tolist(), seed)
    return [ranks.p_value(value) for value in values.tolist()]


def alarm_after(detector: ConformalDetector, values: NDArray[np.float64]) -> int | None:
    """Values until the alarm, or None if there was none."""
    for n, value in enumerate(values.tolist(), start=1):
        detector.update(value)
        if detector.drift_detected:
            return n
    return None


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("reference", [0, 10, 300])
def test_p_values_are_uniform_whatever_the_distribution(name: str, reference: int) -> None:
    values = DISTRIBUTIONS[name](np.random.default_rng(5), reference + 3_000)
    p = np.sort(p_values(values[:reference], values[reference:]))
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand times.
    assert np.abs(p - (np.arange(len(p)) + 0.5) / len(p)).max() < 1.95 / math.sqrt(len(p))


def test_p_values_are_small_for_strange_values() -> None:
    reference = np.arange(999.0)
    assert p_values(reference, np.array([1e9]))[0] <= 1 / 1_000
    assert p_values(reference, np.array([-1e9]))[0] >= 999 / 1_000


def test_a_p_value_counts_larger_values_and_a_random_part_of_equal_ones() -> None:
    values = np.random.default_rng(4).integers(-3, 4, 300).tolist()
    rng, past = np.random.default_rng(7), np.array(values[:20])
    ranks = ConformalRanks(past.tolist(), 7)
    for value in values[20:]:
        larger, equal = int((past > value).sum()), int((past == value).sum())
        assert ranks.p_value(value) == (larger + rng.random() * (equal + 1)) / (len(past) + 1)
        past = np.append(past, value)


def test_without_a_reference_the_first_p_value_is_uniform() -> None:
    first = [p_values(np.zeros(0), np.array([1e9]), seed)[0] for seed in range(400)]
    assert np.mean(first) == pytest.approx(0.5, abs=0.05)


def test_a_new_detector_has_seen_nothing() -> None:
    detector = ConformalDetector((), RUN, 0)
    assert (detector.drift_detected, detector.seen, detector.since) == (False, 0, 0)
    assert detector.statistic == -math.inf


def test_each_bet_is_fair() -> None:
    # A bet's expectation under a uniform p-value is 1: R_1 is one bet, so its mean is 1 as well.
    rng = np.random.default_rng(0)
    wealth = []
    for seed in range(4_000):
        detector = ConformalDetector((), RUN, seed)
        detector.update(float(rng.normal()))
        wealth.append(math.exp(detector.statistic))
    assert np.mean(wealth) == pytest.approx(1.0, abs=0.1)


def test_without_drift_the_statistic_grows_by_at_most_one_an_event() -> None:
    steps, runs = (10, 25, 50), 3_000
    rng = np.random.default_rng(1)
    wealth = np.zeros((runs, len(steps)))
    for run in range(runs):
        detector = ConformalDetector(rng.normal(size=20), RUN, run)
        for t in range(1, steps[-1] + 1):
            detector.update(float(rng.normal()))
            if t in steps:
                wealth[run, steps.index(t)] = math.exp(detector.statistic)
    mean, error = wealth.mean(axis=0), wealth.std(axis=0) / math.sqrt(runs)
    assert (mean <= np.array(steps) + 3 * error).all(), (mean, error)
    # Nor is evidence thrown away: the mean is t, not far less.
    assert (mean >= 0.5 * np.array(steps)).all(), mean


def test_quiet_streams_raise_no_alarm() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        detector = ConformalDetector(rng.normal(size=200), RUN, seed)
        assert alarm_after(detector, rng.normal(size=2_000)) is None


@pytest.mark.parametrize(("shift", "within"), [(3.0, 40), (1.5, 80), (0.8, 250)])
def test_a_rise_is_detected_soon(shift: float, within: int) -> None:
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        detector = ConformalDetector(rng.normal(size=500), RUN, seed)
        assert alarm_after(detector, rng.normal(size=300)) is None
        found.append(alarm_after(detector, rng.normal(shift, 1.0, size=1_000)))
    assert all(n is not None for n in found)
    assert np.median([n for n in found if n is not None]) <= within, found


def test_a_few_very_strange_values_among_many_usual_ones_are_detected() -> None:
    rng = np.random.default_rng(3)
    detector = ConformalDetector(rng.normal(size=2_000), RUN, 0)
    mixed = np.where(rng.random(1_500) < 0.1, 6.0 + rng.random(1_500), rng.normal(size=1_500))
    assert (alarm_after(detector, mixed) or 9_999) < 800


def test_a_fall_is_no_alarm() -> None:
    rng = np.random.default_rng(0)
    detector = ConformalDetector(rng.normal(size=500), RUN, 0)
    assert alarm_after(detector, rng.normal(-2.0, 1.0, size=1_000)) is None


def test_since_estimates_the_change_point() -> None:
    rng = np.random.default_rng(0)
    detector = ConformalDetector(rng.normal(size=500), RUN, 0)
    alarm_after(detector, rng.normal(size=500))
    after = alarm_after(detector, rng.normal(2.0, 1.0, size=500))
    assert after is not None
    assert after - 5 <= detector.since <= after + 60


def test_the_same_seed_gives_the_same_run_and_ties_need_the_seed() -> None:
    values = DISTRIBUTIONS["ties"](np.random.default_rng(0), 200)
    assert p_values(values[:50], values[50:], 1) == p_values(values[:50], values[50:], 1)
    assert p_values(values[:50], values[50:], 1) != p_values(values[:50], values[50:], 2)


def test_a_reset_forgets_evidence_and_reference() -> None:
    rng = np.random.default_rng(0)
    detector = ConformalDetector(rng.normal(size=300), RUN, 0)
    assert alarm_after(detector, rng.normal(4.0, 1.0, size=300)) is not None
    detector.reset(rng.normal(4.0, 1.0, size=300))
    assert (detector.drift_detected, detector.seen, detector.since) == (False, 0, 0)
    assert detector.statistic == -math.inf
    assert alarm_after(detector, rng.normal(4.0, 1.0, size=1_000)) is None


def test_a_long_alarm_stays_finite_and_stands() -> None:
    detector = ConformalDetector(np.zeros(100), RUN, 0)
    # Ever stranger: the p-values are the smallest that there can be, for thousands of values.
    for value in range(1, 5_000):
        detector.update(float(value))
    assert math.isfinite(detector.statistic)
    assert detector.drift_detected
    assert detector.seen == 4_999


def test_a_bet_on_the_smallest_p_value_is_finite() -> None:
    assert max(smooth_bets(0.0)) == max(smooth_bets(SMALLEST)) < 1.0 / SMALLEST


def test_random_numbers_drawn_at_once_are_those_drawn_one_by_one() -> None:
    rng, ranks = np.random.default_rng(7), ConformalRanks((), 7)
    drawn = [ranks.p_value(float(n)) * (n + 1) for n in range(2 * BUFFERED + 3)]
    assert drawn == pytest.approx([rng.random() for _ in drawn])
