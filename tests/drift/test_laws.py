"""Laws of every drift detector: few false alarms, alarms on a rise, none on a fall, reset, determinism, state."""

import json
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from pipeline.config import load_config
from pipeline.drift import BinaryDetector, ConformalDetector, DriftDetector, build_detector
from pipeline.drift.martingale import MartingaleDetector
from pipeline.drift.river_detectors import Adwin, Kswin, PageHinkley

LONG = 1e6
ONE_IN_TEN = 1.2816
"""A standard normal value is larger once in ten times."""

Make = Callable[[Iterable[float], float, int], DriftDetector]


def of_ones(values: Iterable[float]) -> list[float]:
    return [float(value > ONE_IN_TEN) for value in values]


class Yes(BinaryDetector):
    """The binary detector, shown whether a score is among the highest tenth."""

    def __init__(self, reference: Iterable[float], expected_run: float, seed: int) -> None:  # noqa: ARG002
        super().__init__(reference, expected_run)

    def update(self, value: float) -> None:
        super().update(*of_ones([value]))

    def reset(self, reference: Iterable[float]) -> None:
        super().reset(of_ones(reference))


RESTARTING: dict[str, Make] = {
    "conformal": ConformalDetector,
    "binary": Yes,
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
    "kswin": Kswin,
}
ALL: dict[str, Make] = {
    **RESTARTING,
    "martingale": lambda reference, run, seed: MartingaleDetector(reference, 1.0 / run, seed),
}
VALUES = {"kswin": 2_000}
"""Number of quiet values, where one takes a millisecond. The others get 60,000."""


def alarm_after(detector: DriftDetector, values: Iterable[float]) -> float:
    """Values until the alarm; infinite if there was none."""
    for n, value in enumerate(values, start=1):
        detector.update(float(value))
        if detector.drift_detected:
            return n
    return math.inf


def bursts(rng: np.random.Generator, values: int, every: int) -> list[float]:
    """Scores of overlapping windows of 10 draws, 40 of one user in a row, of which one in `every` is kept."""
    found: list[float] = []
    while len(found) < values:
        draws = np.cumsum(np.concatenate([[0.0], rng.normal(size=50)]))
        found += ((draws[10:] - draws[:-10]) / math.sqrt(10))[:40:every].tolist()
    return found[:values]


def alone(rng: np.random.Generator, values: int) -> list[float]:
    return rng.normal(size=values).tolist()


QUIET: dict[str, Callable[[np.random.Generator, int], list[float]]] = {
    "independent": alone,
    "bursts, thinned": lambda rng, values: bursts(rng, values, 10),
}


def false_alarms(make: Make, draw: Callable[[np.random.Generator, int], list[float]], run: float, values: int) -> int:
    """Alarms in streams of 1,000 values, each with a new reference; a detector is reset after an alarm."""
    rng = np.random.default_rng(11)
    alarms = 0
    for seed in range(values // 1_000):
        detector = make(draw(rng, 200), run, seed)
        for value in draw(rng, 1_000):
            detector.update(value)
            if detector.drift_detected:
                alarms += 1
                detector.reset(draw(rng, 200))
    return alarms


@pytest.mark.parametrize("stream", QUIET)
@pytest.mark.parametrize("name", RESTARTING)
def test_quiet_streams_have_the_expected_run(name: str, stream: str) -> None:
    values, run = VALUES.get(name, 60_000), 1_000.0
    expected = values / run
    assert false_alarms(RESTARTING[name], QUIET[stream], run, values) <= expected + 3 * math.sqrt(expected)


def test_windows_that_overlap_would_raise_false_alarms_were_they_not_thinned() -> None:
    overlapping = false_alarms(ConformalDetector, lambda rng, values: bursts(rng, values, 1), 1_000.0, 20_000)
    assert overlapping > 20 + 3 * math.sqrt(20)


@pytest.mark.parametrize("stream", QUIET)
@pytest.mark.parametrize("reference", [0, 100])
def test_a_martingale_ever_alarms_in_few_quiet_streams(stream: str, reference: int) -> None:
    streams, alpha = 150, 0.1
    rng = np.random.default_rng(3)
    alarmed = sum(
        alarm_after(MartingaleDetector(QUIET[stream](rng, reference), alpha, seed), QUIET[stream](rng, 500)) < math.inf
        for seed in range(streams)
    )
    assert alarmed <= alpha * streams + 3 * math.sqrt(alpha * (1 - alpha) * streams)


@pytest.mark.parametrize("name", ALL)
def test_a_rise_is_detected(name: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        detector = ALL[name](alone(rng, 300), LONG, seed)
        assert alarm_after(detector, alone(rng, 200)) == math.inf
        assert alarm_after(detector, rng.normal(2.0, 1.0, 300)) <= 200
        assert detector.statistic >= detector.threshold
        assert 0 < detector.since <= 260


@pytest.mark.parametrize("name", ALL)
def test_a_fall_is_no_alarm(name: str) -> None:
    rng = np.random.default_rng(0)
    detector = ALL[name](alone(rng, 300), LONG, 0)
    assert alarm_after(detector, [*alone(rng, 200), *rng.normal(-2.0, 1.0, 400)]) == math.inf


@pytest.mark.parametrize("name", ALL)
def test_after_a_reset_the_new_values_are_normal(name: str) -> None:
    rng = np.random.default_rng(1)
    detector = ALL[name](alone(rng, 300), LONG, 0)
    alarm_after(detector, rng.normal(2.0, 1.0, 300))
    detector.reset(rng.normal(2.0, 1.0, 300).tolist())
    assert (detector.drift_detected, detector.seen, detector.since, detector.statistic) == (False, 0, 0, -math.inf)
    assert alarm_after(detector, rng.normal(2.0, 1.0, 300)) == math.inf


@pytest.mark.parametrize("name", ALL)
def test_a_new_detector_has_seen_nothing(name: str) -> None:
    detector = ALL[name]([], LONG, 0)
    assert (detector.drift_detected, detector.seen, detector.since, detector.statistic) == (False, 0, 0, -math.inf)
    detector.update(1.0)
    assert (detector.drift_detected, detector.seen) == (False, 1)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("before", [0, 150])
def test_a_restored_detector_continues_exactly(name: str, before: int) -> None:
    rng = np.random.default_rng(5)
    reference, early = alone(rng, 100), alone(rng, before)
    late = [*alone(rng, 50), *rng.normal(2.5, 1.0, 100).tolist()]
    one, two = ALL[name](reference, LONG, 3), ALL[name]([], LONG, 3)
    for value in early:
        one.update(value)
    two.restore(json.loads(json.dumps(one.state(), allow_nan=False)))
    for value in late:
        one.update(value)
        two.update(value)
        assert (one.statistic, one.since, one.seen, one.drift_detected) == (
            two.statistic,
            two.since,
            two.seen,
            two.drift_detected,
        )


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("conformal", ConformalDetector),
        ("martingale", MartingaleDetector),
        ("adwin", Adwin),
        ("page_hinkley", PageHinkley),
        ("kswin", Kswin),
    ],
)
def test_the_settings_name_the_detector(setting: str, kind: type) -> None:
    settings = load_config(overrides=[f"monitor.detector={setting}"]).monitor
    assert type(build_detector(settings, [], 1e6, 30, 0)) is kind
    moves = build_detector(settings, [], 1e6, 30, 0, binary=True)
    assert type(moves) is (BinaryDetector if setting == "conformal" else kind)


def test_martingales_share_their_false_alarm() -> None:
    settings = load_config(overrides=["monitor.detector=martingale", "monitor.false_alarm=0.06"]).monitor
    assert build_detector(settings, [], 1e6, 30, 0).threshold == pytest.approx(math.log(30 / 0.06))


def test_a_longer_run_gives_river_stricter_thresholds() -> None:
    limits = [[kind([], run, 0).limit for run in (500.0, 5e3, 5e4, 1e6, 1e7)] for kind in (Adwin, PageHinkley, Kswin)]
    assert limits[0] == sorted(limits[0], reverse=True)
    assert limits[1] == sorted(limits[1])
    assert limits[2] == sorted(limits[2], reverse=True)
