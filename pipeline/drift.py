"""Drift detectors: when a stream of scores stops looking like its own past.

`ConformalDetector` turns each score into a conformal p-value (its rank among the reference and everything
since, smoothed, so uniform as long as nothing changes, whatever the distribution and however small the
reference) and bets against uniformity. Its statistic is a Shiryaev-Roberts e-detector (Shin, Ramdas and
Rinaldo, 2023): without drift it grows by at most one an event on average, so the mean number of events
between false alarms is at least the threshold.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Protocol

import numpy as np

POWERS = (0.3, 0.6)
"""Exponents a of the power bets e(p) = a p^(a-1): they expect some very small p-values."""

SLOPES = (0.4, 0.9)
"""Slopes b of the linear bets e(p) = 1 + b (1 - 2p): they expect p-values that are smaller on the whole."""

SMALLEST = 1e-6
"""p-values are not bet on below this; a bet stays finite."""


class DriftDetector(Protocol):
    """The shape of river's detectors: `update` with each value, then read `drift_detected`."""

    drift_detected: bool

    def update(self, value: float) -> None:
        """Take in the next value."""


class ConformalDetector:
    """Alarms when scores rise above what they were.

    Args:
        reference: scores from before the stream; may be empty.
        expected_run: least mean number of values between false alarms.
        seed: for breaking ties of p-values.

    Attributes:
        drift_detected: whether the last value raised the alarm.
        statistic: natural log of the e-detector; the alarm is at log(expected_run).
        since: values since the change point as estimated now (the start of the bet that won).
        seen: values taken in since the start or the last reset.
    """

    def __init__(self, reference: Iterable[float], expected_run: float, seed: int) -> None:
        self.expected_run = expected_run
        self._rng = np.random.default_rng(seed)
        self.reset(reference)

    def reset(self, reference: Iterable[float]) -> None:
        """Forget all evidence and compare with a new reference."""
        self._past = sorted(reference)
        self._wealth = [0.0] * (len(POWERS) + len(SLOPES))
        self._walk = 0.0
        self.since = 0
        self.seen = 0
        self.statistic = -math.inf
        self.drift_detected = False

    def update(self, value: float) -> None:
        """Take in the next score; larger is stranger."""
        p = max(self._p_value(value), SMALLEST)
        insort(self._past, value)
        self.seen += 1
        bets = [a * p ** (a - 1.0) for a in POWERS] + [1.0 + b * (1.0 - 2.0 * p) for b in SLOPES]
        # Capped far above any threshold, so that a long alarm cannot overflow.
        self._wealth = [min((w + 1.0) * e, 1e300) for w, e in zip(self._wealth, bets, strict=True)]
        self._walk = max(0.0, self._walk + math.log(sum(bets) / len(bets)))
        self.since = self.since + 1 if self._walk > 0.0 else 0
        wealth = sum(self._wealth) / len(bets)
        self.statistic = math.log(max(wealth, 1e-300))
        self.drift_detected = wealth >= self.expected_run

    def _p_value(self, value: float) -> float:
        """Share of the past that is at least as strange, ties broken at random (Vovk et al., 2005)."""
        low, high = bisect_left(self._past, value), bisect_right(self._past, value)
        stranger, equal = len(self._past) - high, high - low
        return float((stranger + self._rng.random() * (equal + 1)) / (len(self._past) + 1))
