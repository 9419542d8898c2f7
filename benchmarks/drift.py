"""Benchmark of the drift detectors, river's and two dummies on simulated streams. Prints one JSON object.

    python -m benchmarks.drift [--quick] [--streams N]

False alarms and edits are those of the monitor's own detectors, in the shipped configuration, on gated events of
20,000-event streams (`benchmarks.gated_streams`). The expected run is 1,000,000 events between false alarms of each
signal. A stream has 2,000 values of novelty, doubt and rarity each, 20,000 of loss, and 3,000 of moves, which count
fivefold: at most 4.1% of quiet streams may alarm. `false_alarms_overlapping` is measured with windows that overlap by
half: for independent values the bound would be 5.0%.

Delays are counted in values, after 500 quiet ones and a reference of 300, at an expected run of 20,000 / 0.05 values; a
stream without an alarm counts with the 2,000 values after the change. `FEWER` lists the detectors with fewer streams.

`microseconds` is process time per event, by the events in the stream: ranks among a longer past cost more. It covers
all updates of the detectors of one region by users who stay there, 1.5 values per event, and nothing else of the
monitor. All detectors compute the rank (ours for 1.3 of the 1.5 values: moves have none), the bets and the change
point; then ours update the wealth, and river's run their own test, whose time alone is `microseconds_of_river`. The
dummy `never` gives the cost of measuring. The detectors take turns, so that load on the machine affects all; the best
stretch counts.
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.gated_streams import LENGTH, REFERENCE, REGIONS, Planted, draw, gated, monitor, shown
from pipeline.config import Config, load_config
from pipeline.drift import ConformalDetector, DriftDetector
from pipeline.drift.martingale import MartingaleDetector
from pipeline.drift.river_detectors import Adwin, Kswin, PageHinkley, RiverDetector
from pipeline.events.edit import Edit
from pipeline.monitor import Monitor
from pipeline.monitor.signals import of_windows
from pipeline.monitor.state import State

Array = NDArray[np.float64]
Make = Callable[[Array, float, int], DriftDetector]
Costs = dict[str, dict[str, float]]
"""Microseconds an event by events in the stream, then by detector."""

ALPHA, EVENTS, BEFORE, AFTER = 0.05, 20_000, 500, 2_000
OVERLAPPING = f"monitor.thinning={LENGTH // 2}"
MANY = 100
"""Regions among which the same events are also shared out: each detector has fewer values, the bound is the same."""

RARE = 2.054
"""Quantile 0.98 of the standard normal: larger values count as moves."""

SPELL = 25
"""Values on and off of a recurring drift: in longer spells all detectors alarm in the first, as after a sudden one."""

EXPECTED_RUN = 1_000.0
DUMMIES = ("always", "never")
RIVER = ("adwin", "page_hinkley", "kswin")
RESTARTING = ("ours", *RIVER)
TARGET_MICROSECONDS = 5.0
LENGTHS = (2_000, 20_000)
"""Lengths of the streams whose cost is measured, in events."""

FEWER: Mapping[str, Mapping[str, float]] = {
    "quiet": {"martingale": 0.3, "adwin": 0.3, "page_hinkley": 0.3, "kswin": 0.01, "always": 0.01, "never": 0.01},
    "overlapping": {"ours": 0.3},
    "many": {"ours": 0.2},
    "run": {"kswin": 0.1},
    "delay": {"kswin": 0.3},
    "edits": {"kswin": 0.1},
    "time": {"kswin": 0.1},
}
"""Shares of the streams, values or stretches of each measurement for slow or deterministic detectors."""


class Dummy:
    """Detector that always alarms, or never."""

    since, statistic, threshold = 1, 0.0, 0.0

    def __init__(self, always: bool) -> None:
        self.drift_detected = always
        self.seen = 0

    def update(self, value: float) -> None:  # noqa: ARG002
        """Count the value."""
        self.seen += 1

    def reset(self, reference: Iterable[float]) -> None:  # noqa: ARG002
        """Count from zero again."""
        self.seen = 0

    def state(self) -> dict[str, Any]:
        """Number of values."""
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `state`."""
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


def alarm_after(detector: DriftDetector, values: Array) -> float:
    """Values until the alarm; infinite if there is none."""
    for n, value in enumerate(values.tolist(), start=1):
        detector.update(value)
        if detector.drift_detected:
            return n
    return math.inf


def settings(name: str, *overrides: str) -> Config:
    """Load the shipped configuration with this detector and the overrides."""
    known = "conformal" if name in ("ours", *DUMMIES) else name
    return load_config(overrides=(f"monitor.detector={known}", *overrides))


def monitor_of(name: str, seed: int, *overrides: str, regions: int = REGIONS) -> Monitor:
    """Make a monitor with this detector."""
    made = monitor(settings(name, *overrides), seed, regions)
    if name in DUMMIES:
        dummy = DETECTORS[name](np.zeros(0), 1.0, 0)
        for region in made.state.regions.values():
            region.detectors = {signal: [dummy] * len(phases) for signal, phases in region.detectors.items()}
    return made


def false_alarms(name: str, streams: int, *overrides: str, regions: int = REGIONS) -> dict[str, Any]:
    """Share of quiet streams with an alarm of any signal in any region, and number of streams by signal."""
    alarmed, by_signal = 0, Counter[str]()
    for seed in range(streams):
        state = monitor_of(name, seed, *overrides, regions=regions).state
        values, of = shown(draw(EVENTS, state.stride, seed, regions=regions)), state.regions
        raised = {s for (i, s, phase), v in values.items() if alarm_after(of[i].detectors[s][phase], v) < math.inf}
        alarmed += bool(raised)
        by_signal.update(raised)
    return {"streams": streams, "share": alarmed / streams, "signals": dict(sorted(by_signal.items()))}


def run_length(name: str, values: int) -> dict[str, float]:
    """Mean number of values between false alarms at `EXPECTED_RUN`; the detector is reset after each alarm."""
    rng = np.random.default_rng(5)
    detector, alarms = DETECTORS[name](rng.normal(size=REFERENCE), EXPECTED_RUN, 5), 0
    for value in rng.normal(size=values).tolist():
        detector.update(value)
        if detector.drift_detected:
            alarms += 1
            detector.reset(rng.normal(size=REFERENCE))
    return {"asked": EXPECTED_RUN, "values": values, "alarms": alarms, "arl": values / max(alarms, 1)}


@dataclass(frozen=True)
class Drift:
    """A kind of drift: its sizes, and the rise of each value, given its place after the change and the size."""

    sizes: tuple[float, ...]
    rise: Callable[[np.random.Generator, Array, float], Array]


DRIFTS: dict[str, Drift] = {
    "sudden": Drift((0.5, 1.0, 2.0), lambda _, places, size: np.full(len(places), size)),
    "gradual": Drift((0.5, 1.0, 2.0), lambda _, places, size: size * np.minimum(1.0, places / 500)),
    "recurring": Drift((0.5, 1.0, 2.0), lambda _, places, size: size * (places // SPELL % 2 == 0)),
    "emerging": Drift((0.1, 0.2, 0.4), lambda rng, places, share: 3.0 * (rng.random(len(places)) < share)),
}
"""Kinds of drift; the size of an emerging one is the share of values that rise, by three standard deviations."""


def delay(name: str, kind: str, size: float, streams: int) -> dict[str, float]:
    """Mean number of values from the change to the alarm, and numbers of streams with an early or no alarm."""
    found, early, run = [], 0, EVENTS / ALPHA
    for seed in range(streams):
        rng = np.random.default_rng(1_000 + seed)
        detector = DETECTORS[name](rng.normal(size=REFERENCE), run, seed)
        if alarm_after(detector, rng.normal(size=BEFORE)) < math.inf:
            early += 1
            continue
        values = rng.normal(size=AFTER) + DRIFTS[kind].rise(rng, np.arange(float(AFTER)), size)
        found.append(alarm_after(detector, values))
    counted = np.minimum(found, AFTER) if found else np.full(1, float(AFTER))
    error = float(counted.std() / math.sqrt(len(counted)))
    missed = sum(math.isinf(n) for n in found)
    return {"streams": streams, "mean": float(counted.mean()), "error": error, "missed": missed, "early": early}


def f1(name: str, kind: str, streams: int) -> float:
    """F1 score of the monitor's first edit against a planted drift of the middle size, in one region of six."""
    size = DRIFTS[kind].sizes[1]
    planted = Planted(EVENTS // 2, lambda rng, places: DRIFTS[kind].rise(rng, places, size))
    right = wrong = 0
    for seed in range(streams):
        edit = first_edit(name, planted, seed)
        right += edit is not None and planted.found_by(edit)
        wrong += edit is not None and not planted.found_by(edit)
    return 2 * right / (right + wrong + streams)


def first_edit(name: str, planted: Planted, seed: int) -> Edit | None:
    """The first edit of a monitor that decides after each batch of the gate."""
    made = monitor_of(name, seed)
    batch = made.state.config.gate.batch_size
    for offset, record in enumerate(gated(draw(EVENTS, made.state.stride, seed, planted))):
        made.observe(record, offset)
        edits = made.decide() if made.at_event % batch == 0 else []
        if edits:
            return edits[0]
    return None


def microseconds(names: Collection[str], take: Callable[[str, int, int], float], stretches: int) -> Costs:
    """Process time per event by length of stream and detector: the best of several stretches.

    Args:
        names: detectors.
        take: seconds of one stretch by detector, events and seed.
        stretches: of the greatest length; there are more of shorter ones.
    """
    costs: Costs = {}
    for events in LENGTHS:
        best = dict.fromkeys(names, math.inf)
        # The same number of events at each length: a short stretch is disturbed more easily.
        turns = stretches * max(LENGTHS) // events
        for seed in range(turns):
            for name in names:
                if seed < few("time", name, turns):
                    best[name] = min(best[name], take(name, events, seed) / events * 1e6)
        costs[str(events)] = best
    return costs


def stretch(name: str, events: int, seed: int) -> float:
    """Seconds that the detectors of all signals of a region take for this number of its events."""
    state = monitor_of(name, seed).state
    detectors, values = state.regions[1].detectors, np.random.default_rng(seed).normal(size=events)
    return seconds(
        (detectors[signal][phase].update, float(value > RARE) if signal == "shift" else float(value))
        for n, value in enumerate(values)
        for signal, phase in due(state, n)
    )


def stretch_of_river(name: str, events: int, seed: int) -> float:
    """Seconds of these that river's own detectors take, on as many uniform values."""
    state = monitor_of(name, seed).state
    detectors, values = state.regions[1].detectors, np.random.default_rng(seed).random(events)
    return seconds(
        (cast(RiverDetector, detectors[signal][phase]).rose, float(value))
        for n, value in enumerate(values)
        for signal, phase in due(state, n)
    )


def seconds(updates: Iterable[tuple[Callable[[float], object], float]]) -> float:
    """Process time of these calls with their values, without that of making them."""
    calls = list(updates)
    start = time.process_time()
    for update, value in calls:
        update(value)
    return time.process_time() - start


def due(state: State, place: int) -> Iterator[tuple[str, int]]:
    """Signals and phases whose detectors are shown the window at this place in a user's sequence."""
    turn = place % state.stride
    yield from ((signal.name, 0) for signal in of_windows() if signal.is_shown(turn))
    yield from (("shift", phase) for phase, first in enumerate(state.phases) if turn == first)


def few(what: str, name: str, n: int) -> int:
    """Number out of n streams or values for a detector."""
    return max(1, int(n * FEWER[what].get(name, 1.0)))


def measure(quiet: int, run: int, delays: int, edits: int, stretches: int) -> dict[str, Any]:
    """Run all measurements.

    Args:
        quiet: streams without drift.
        run: values for the run between alarms.
        delays: streams for each delay.
        edits: streams for each F1 score.
        stretches: timed.
    """
    result: dict[str, Any] = {
        "false_alarms": {name: false_alarms(name, few("quiet", name, quiet)) for name in DETECTORS},
        "false_alarms_many_regions": false_alarms("ours", few("many", "ours", quiet), regions=MANY),
        "false_alarms_overlapping": false_alarms("ours", few("overlapping", "ours", quiet), OVERLAPPING),
        "arl": {name: run_length(name, few("run", name, run)) for name in RESTARTING},
        "delay": {
            kind: {
                str(size): {name: delay(name, kind, size, few("delay", name, delays)) for name in DETECTORS}
                for size in drift.sizes
            }
            for kind, drift in DRIFTS.items()
        },
        "f1": {kind: {name: f1(name, kind, few("edits", name, edits)) for name in DETECTORS} for kind in DRIFTS},
        "microseconds": microseconds(DETECTORS, stretch, stretches),
        "microseconds_of_river": microseconds(RIVER, stretch_of_river, stretches),
    }
    return result | {"ratios": ratios(result)}


def ratios(result: Mapping[str, Any]) -> dict[str, float]:
    """Ratios that are better above 1: delay of river's best over ours, measured over expected run, target over time."""
    found = {
        f"delay_{kind}_{size}": min(by[name]["mean"] for name in RIVER) / by["ours"]["mean"]
        for kind, sizes in result["delay"].items()
        for size, by in sizes.items()
    }
    found["arl_over_asked"] = result["arl"]["ours"]["arl"] / EXPECTED_RUN
    for events, cost in result["microseconds"].items():
        found[f"microseconds_target_over_ours_{events}_events"] = TARGET_MICROSECONDS / cost["ours"]
    return found


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two streams of each, to see that it works")
    parser.add_argument("--streams", type=int, default=1_000, help="quiet streams")
    options = parser.parse_args(arguments)
    found = measure(2, 2_000, 2, 1, 1) if options.quick else measure(options.streams, 500_000, 100, 20, 10)
    lengths = {"events": EVENTS, "values_before": BEFORE, "values_after": AFTER}
    json.dump({"alpha": ALPHA, **lengths, **found}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
