"""ADWIN, Page-Hinkley and KSWIN of river as alternatives, with thresholds for the same run between false alarms.

Their input is 1 - p, p the conformal p-value: uniform on (0, 1) without drift, for every signal. So one table per
detector maps the expected run to the detector's own threshold. The tables were measured by
`python -m benchmarks.river_thresholds` on uniform values; between their rows the threshold is interpolated over the log
of the run, beyond the last row it is extrapolated from the last two. Alarms of a fall are ignored: ADWIN and KSWIN
raise them too, so the means before and after the change decide on the direction.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from river import drift

from pipeline.drift.change_point import ChangePointEstimate
from pipeline.drift.conformal import smooth_bets
from pipeline.drift.conformal_ranks import ConformalRanks

Runs = Mapping[float, float]
"""Mean run between false rises on uniform values, in rising order, and the threshold that gives it."""

TOLERANCE = 0.05
"""Page-Hinkley: least rise of the mean that counts; the standard deviation of the values is 0.29."""

WINDOW, NEWEST = 100, 30
"""KSWIN: number of values compared, and size of the newer sample; river's defaults."""


def at_run(runs: Runs, expected_run: float) -> float:
    """Threshold for a run: linear in its log between and beyond the rows of a table."""
    known, limits = np.log(list(runs)), list(runs.values())
    row = min(max(int(np.searchsorted(known, math.log(expected_run))), 1), len(limits) - 1)
    slope = (limits[row] - limits[row - 1]) / (known[row] - known[row - 1])
    return float(limits[row] + slope * (math.log(expected_run) - known[row]))


class RiverDetector(ChangePointEstimate, ABC):
    """Base class of the three.

    Args:
        reference: scores from before the stream; may be empty.
        expected_run: mean number of values between false alarms.
        seed: for breaking ties of p-values, and of KSWIN's sampling.

    Attributes:
        statistic: 1 with the alarm, else 0: river exposes no distance to an alarm.
        threshold: 1.
        limit: threshold of river's detector, in the scale of `RUNS`.
        drift_detected, since, seen: see `DriftDetector`; the alarm is raised for one value, and the change point is
            estimated by the bets of `ConformalDetector`.
    """

    RUNS: ClassVar[Runs]

    def __init__(self, reference: Iterable[float], expected_run: float, seed: int) -> None:
        self.threshold = 1.0
        self._seed = seed
        self.limit = at_run(self.RUNS, expected_run)
        self._ranks = ConformalRanks(reference, seed)
        self._clear()

    @abstractmethod
    def begin(self) -> None:
        """Make a new detector of river."""

    @abstractmethod
    def rose(self, strangeness: float) -> bool:
        """Update river's detector with a value in (0, 1), and return whether it detects a rise."""

    def reset(self, reference: Iterable[float]) -> None:
        """Drop all evidence and compare with a new reference."""
        self._ranks.reset(reference)
        self._clear()

    def _clear(self) -> None:
        self._shown: list[float] = []
        self._restart_sum()
        self.seen = 0
        self.statistic = -math.inf
        self.drift_detected = False
        self.begin()

    def update(self, value: float) -> None:
        """Update with the next score; larger is stranger."""
        self._update(self._ranks.p_value(value))

    def _update(self, p: float) -> None:
        self._shown.append(p)
        self.seen += 1
        a, b, c, d = smooth_bets(p)
        self._add_gain((a + b + c + d) / 4)
        self.drift_detected = self.rose(1.0 - p)
        self.statistic = float(self.drift_detected)

    def state(self) -> dict[str, Any]:
        """All p-values since the last reset: river's detectors have no record, and are rebuilt from their input."""
        return {"ranks": self._ranks.state(), "shown": list(self._shown)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `state`."""
        self._clear()
        self._ranks.restore(state["ranks"])
        for p in state["shown"]:
            self._update(p)


class Adwin(RiverDetector):
    """Adaptive windowing (Bifet and Gavalda, 2007); the limit is log10 of its delta."""

    RUNS: ClassVar[Runs] = {
        748: 0.5,
        2_892: 0.25,
        8_450: 0.0,
        19_550: -0.25,
        48_971: -0.5,
        107_957: -0.75,
        231_667: -1.0,
    }

    def begin(self) -> None:
        """Make a new detector of river."""
        self._river = drift.ADWIN(delta=10.0**self.limit)

    def rose(self, strangeness: float) -> bool:
        """Update river's detector with a value in (0, 1), and return whether it detects a rise."""
        before = self._river.estimation
        self._river.update(strangeness)
        # After a detection the window is cut to its newer part.
        return bool(self._river.drift_detected) and self._river.estimation > before


class PageHinkley(RiverDetector):
    """Page-Hinkley's test of a mean that rises; the limit is its threshold.

    Without forgetting (alpha = 1): with river's 0.9999 the sum stays near a fixed level, and no threshold gives a long
    run.
    """

    RUNS: ClassVar[Runs] = {234: 2, 825: 3, 3_100: 4, 10_350: 5, 34_350: 6, 112_698: 7, 321_333: 8}

    def begin(self) -> None:
        """Make a new detector of river."""
        self._river = drift.PageHinkley(mode="up", alpha=1.0, delta=TOLERANCE, threshold=self.limit)

    def rose(self, strangeness: float) -> bool:
        """Update river's detector with a value in (0, 1), and return whether it detects a rise."""
        self._river.update(strangeness)
        return bool(self._river.drift_detected)


class Kswin(RiverDetector):
    """Kolmogorov-Smirnov windowing (Raab et al., 2020); the limit is log10 of its alpha.

    It takes hundreds of times as long as the others.
    """

    RUNS: ClassVar[Runs] = {
        328: -1.806,
        620: -2.184,
        1_271: -2.597,
        3_390: -3.046,
        9_375: -3.533,
        26_087: -4.059,
        120_000: -4.626,
    }

    def begin(self) -> None:
        """Make a new detector of river."""
        self._river = drift.KSWIN(alpha=10.0**self.limit, window_size=WINDOW, stat_size=NEWEST, seed=self._seed)

    def rose(self, strangeness: float) -> bool:
        """Update river's detector with a value in (0, 1), and return whether it detects a rise."""
        older = list(self._river.window)
        self._river.update(strangeness)
        if not self._river.drift_detected:
            return False
        window = [*older, strangeness][-WINDOW:]
        return bool(np.mean(window[-NEWEST:]) > np.mean(window[:-NEWEST]))
