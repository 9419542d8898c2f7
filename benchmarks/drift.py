"""Our drift detectors beside river's and two dummies, on simulated streams. Prints one JSON object.

    python -m benchmarks.drift [--quick] [--streams N]

A quiet stream has 20,000 events of one region and its five statistics, shown as the monitor shows them: novelty, doubt,
rarity and moves once in ten events (windows overlap, and come in bursts of a user), loss at every event. The chance of
an alarm in any of them may be 0.05: each asks for a run of 5 x its values / 0.05. Delays are counted in values, after
500 quiet ones and a reference of 300; a stream without an alarm counts with the 2,000 values it was watched. KSWIN
costs a millisecond a value and gets a tenth of the streams, at least one.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.drift import BinaryDetector, ConformalDetector, DriftDetector
from pipeline.drift.martingale import MartingaleDetector
from pipeline.drift.river_detectors import Adwin, Kswin, PageHinkley

Array = NDArray[np.float64]
Make = Callable[[Array, float, int], DriftDetector]

ALPHA, EVENTS, APART, REFERENCE, BEFORE, AFTER = 0.05, 20_000, 10, 300, 500, 2_000
SIGNALS = ("novelty", "doubt", "rarity", "loss", "shift")
MOVES = 0.02
REGIONS = 6
ASKED = 1_000.0
SLOW = ("kswin",)
RIVER = ("adwin", "page_hinkley", "kswin")
RESTARTING = ("ours", *RIVER)
TARGET_MICROSECONDS = 5.0


class Dummy:
    """Alarms always, or never."""

    since, statistic, threshold = 1, 0.0, 0.0

    def __init__(self, always: bool) -> None:
        self.drift_detected = always
        self.seen = 0

    def update(self, value: float) -> None:  # noqa: ARG002
        """Whatever the value."""
        self.seen += 1

    def reset(self, reference: Iterable[float]) -> None:  # noqa: ARG002
        """Nothing to forget."""
        self.seen = 0

    def state(self) -> dict[str, Any]:
        """How many values."""
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As it was."""
        self.seen = state["seen"]


DETECTORS: dict[str, Make] = {
    "ours": ConformalDetector,
    "martingale": lambda reference, run, seed: MartingaleDetector(reference, EVENTS / run, seed),
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
    "kswin": Kswin,
    "always": lambda *_: Dummy(True),
    "never": lambda *_: Dummy(False),
}


def binary(name: str) -> Make:
    """Ours has a detector of its own for moves."""
    return (lambda reference, run, _: BinaryDetector(reference, run)) if name == "ours" else DETECTORS[name]


def overlapping(rng: np.random.Generator, values: int) -> Array:
    """One in ten of the scores of windows of ten draws, forty windows of one user in a row."""
    draws = np.cumsum(rng.normal(size=(values // 4 + 1, 50)), axis=1)
    return ((draws[:, 10:] - draws[:, :-10]) / math.sqrt(10))[:, ::APART].ravel()[:values]


def quiet(signal: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """Reference and values of a signal."""
    n = EVENTS if signal == "loss" else EVENTS // APART
    if signal == "loss":
        return rng.gamma(2.0, size=REFERENCE), rng.gamma(2.0, size=n)
    if signal == "shift":
        return (rng.random(REFERENCE) < MOVES).astype(np.float64), (rng.random(n) < MOVES).astype(np.float64)
    return overlapping(rng, REFERENCE), overlapping(rng, n)


def alarm_after(detector: DriftDetector, values: Array) -> float:
    """Values until the alarm; infinite if there is none."""
    for n, value in enumerate(values.tolist(), start=1):
        detector.update(value)
        if detector.drift_detected:
            return n
    return math.inf


def false_alarms(name: str, streams: int) -> dict[str, float]:
    """Share of quiet streams with an alarm in any of the five statistics."""
    alarmed = 0
    for seed in range(streams):
        rng = np.random.default_rng(seed)
        drawn = {signal: quiet(signal, rng) for signal in SIGNALS}
        alarmed += any(_alarms(name, signal, *drawn[signal], seed) for signal in SIGNALS)
    return {"streams": streams, "share": alarmed / streams}


def _alarms(name: str, signal: str, reference: Array, values: Array, seed: int) -> bool:
    make = binary(name) if signal == "shift" else DETECTORS[name]
    if name == "martingale":
        detector: DriftDetector = MartingaleDetector(reference, ALPHA / len(SIGNALS), seed)
    else:
        detector = make(reference, len(SIGNALS) * len(values) / ALPHA, seed)
    return alarm_after(detector, values) < math.inf


def run_length(name: str, values: int) -> dict[str, float]:
    """Values between false alarms where `ASKED` are asked for; whoever alarms starts again."""
    rng = np.random.default_rng(5)
    detector, alarms = DETECTORS[name](rng.normal(size=REFERENCE), ASKED, 5), 0
    for value in rng.normal(size=values).tolist():
        detector.update(value)
        if detector.drift_detected:
            alarms += 1
            detector.reset(rng.normal(size=REFERENCE))
    return {"asked": ASKED, "values": values, "alarms": alarms, "arl": values / max(alarms, 1)}


@dataclass(frozen=True)
class Drift:
    """How far from normal each value after the change lies, given its size."""

    sizes: tuple[float, ...]
    draw: Callable[[np.random.Generator, float], Array]


def _normal(rng: np.random.Generator, rise: Array) -> Array:
    return rng.normal(size=AFTER) + rise


PLACES = np.arange(AFTER)
DRIFTS: dict[str, Drift] = {
    "sudden": Drift((0.5, 1.0, 2.0), lambda rng, size: _normal(rng, np.full(AFTER, size))),
    "gradual": Drift((0.5, 1.0, 2.0), lambda rng, size: _normal(rng, size * np.minimum(1.0, PLACES / 500))),
    "recurring": Drift((0.5, 1.0, 2.0), lambda rng, size: _normal(rng, size * (PLACES // 100 % 2 == 0))),
    "emerging": Drift((0.1, 0.2, 0.4), lambda rng, share: _normal(rng, 3.0 * (rng.random(AFTER) < share))),
}
"""Emerging: the size is the share of values that rise, by three standard deviations."""


def delay(name: str, kind: str, size: float, streams: int) -> dict[str, float]:
    """Mean values from the change to the alarm, streams that alarmed before it, and streams that never did."""
    found, early, run = [], 0, EVENTS / ALPHA
    for seed in range(streams):
        rng = np.random.default_rng(1_000 + seed)
        detector = DETECTORS[name](rng.normal(size=REFERENCE), run, seed)
        early += alarm_after(detector, rng.normal(size=BEFORE)) < math.inf
        found.append(alarm_after(detector, DRIFTS[kind].draw(rng, size)))
    missed = sum(math.isinf(n) for n in found)
    mean = float(np.mean([min(n, AFTER) for n in found]))
    return {"streams": streams, "mean": mean, "missed": missed, "early": early}


def f1(name: str, streams: int) -> float:
    """Of alarms against planted truth: one region of six drifts, suddenly and by one standard deviation."""
    right = wrong = 0
    for seed in range(streams):
        rng = np.random.default_rng(2_000 + seed)
        for region in range(REGIONS):
            detector = DETECTORS[name](rng.normal(size=REFERENCE), EVENTS / ALPHA, seed)
            early = alarm_after(detector, rng.normal(size=BEFORE)) < math.inf
            late = alarm_after(detector, rng.normal(float(region == 0), 1.0, BEFORE)) < math.inf
            right += region == 0 and late and not early
            wrong += early or (region > 0 and late)
    return 2 * right / (right + wrong + streams)


def microseconds(name: str, values: int) -> float:
    """Process time of an update, best of three stretches of a quiet stream."""
    rng = np.random.default_rng(3)
    detector, best = DETECTORS[name](rng.normal(size=REFERENCE), 1e6, 3), math.inf
    for _ in range(3):
        shown = rng.normal(size=values).tolist()
        start = time.process_time()
        for value in shown:
            detector.update(value)
        best = min(best, (time.process_time() - start) / values * 1e6)
    return best


def measure(streams: int, runs: int, delays: int, slow: float) -> dict[str, Any]:
    """Everything: quiet streams, values of a run, streams a delay; `slow` is the share of them that KSWIN gets."""

    def few(name: str, n: int) -> int:
        return max(1, int(n * slow)) if name in SLOW else n

    result: dict[str, Any] = {
        "false_alarms": {name: false_alarms(name, few(name, streams)) for name in DETECTORS},
        "arl": {name: run_length(name, few(name, runs)) for name in RESTARTING},
        "delay": {
            kind: {
                str(size): {name: delay(name, kind, size, few(name, delays)) for name in DETECTORS}
                for size in drift.sizes
            }
            for kind, drift in DRIFTS.items()
        },
        "f1": {name: f1(name, few(name, delays)) for name in DETECTORS},
        "microseconds": {name: microseconds(name, few(name, 20_000)) for name in DETECTORS},
    }
    return result | {"ratios": ratios(result)}


def ratios(result: Mapping[str, Any]) -> dict[str, float]:
    """What is better above 1: delay of the best of river over ours, run over what was asked, time over its target."""
    found = {
        f"delay_{kind}_{size}": min(by[name]["mean"] for name in RIVER) / by["ours"]["mean"]
        for kind, sizes in result["delay"].items()
        for size, by in sizes.items()
    }
    found["arl_over_asked"] = result["arl"]["ours"]["arl"] / ASKED
    found["microseconds_target_over_ours"] = TARGET_MICROSECONDS / result["microseconds"]["ours"]
    return found


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two streams of each, to see that it works")
    parser.add_argument("--streams", type=int, default=1_000, help="quiet streams")
    asked = parser.parse_args(arguments)
    if asked.quick:
        found = measure(2, 2_000, 2, 0.1)
    else:
        found = measure(asked.streams, 500_000, 30, 0.01 if asked.streams >= 1_000 else 0.05)
    json.dump({"alpha": ALPHA, "events": EVENTS, **found}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
