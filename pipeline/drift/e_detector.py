"""Shiryaev-Roberts e-detector of a mixture of bets, the base of the detectors that bet against "no drift".

A bet multiplies its stake by a gain e >= 0, whose mean is at most 1 without drift. The e-detector (Shin, Ramdas and
Rinaldo, 2023) adds a stake of 1 with every value: R_t = (R_{t-1} + 1) e_t. Without drift it grows by at most one per
value on average, so the mean number of values between false alarms is at least the threshold. Each bet of the mixture
has its R_t; the log of their mean is the statistic.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.drift.change_point import ChangePointEstimate

CEILING, FLOOR = 1e300, 1e-300
"""Limits of the wealth: a long alarm must not overflow, and its log must be finite."""

_FIELDS = ("_walk", "since", "seen", "drift_detected")


class BettingDetector(ChangePointEstimate):
    """E-detector of a mixture of four bets; subclasses define the gains.

    The four are written out, because a loop over four numbers takes longer than the arithmetic.

    Args:
        run: least mean number of values between false alarms.

    Attributes:
        threshold: log(run).
        drift_detected, since, seen: see `DriftDetector`; for `since` see `ChangePointEstimate`.
    """

    def __init__(self, run: float) -> None:
        self.threshold = math.log(run)
        self._run = run
        self._clear()

    def _clear(self) -> None:
        self._wealth = [0.0, 0.0, 0.0, 0.0]
        self._restart_sum()
        self.seen = 0
        self.drift_detected = False

    @property
    def statistic(self) -> float:
        """Natural log of the e-detector, computed on access, which is far rarer than an update."""
        return math.log(max(self._evidence(), FLOOR)) if self.seen else -math.inf

    def _update_wealth(self, gains: Sequence[float], stake: float = 1.0) -> None:
        """Add the stake to the wealth of each bet, and multiply it by the bet's gain on the newest value."""
        a, b, c, d = gains
        v, w, x, y = self._wealth
        self._wealth = [(v + stake) * a, (w + stake) * b, (x + stake) * c, (y + stake) * d]
        self.seen += 1
        self._add_gain((a + b + c + d) / 4)
        self.drift_detected = self._evidence() >= self._run
        if self.drift_detected:
            self._wealth = [min(wealth, CEILING) for wealth in self._wealth]

    def _evidence(self) -> float:
        """Mean wealth of the bets."""
        v, w, x, y = self._wealth
        return (v + w + x + y) / 4

    def state(self) -> dict[str, Any]:
        """All learned state, as a JSON object; the statistic is redundant, for readers of the record."""
        # JSON has no minus infinity.
        statistic = self.statistic if self.seen else None
        return {name: getattr(self, name) for name in _FIELDS} | {"wealth": list(self._wealth), "statistic": statistic}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `state`."""
        for name in _FIELDS:
            setattr(self, name, state[name])
        self._wealth = list(state["wealth"])
