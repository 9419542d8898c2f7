"""What detectors that bet against "nothing changed" share: a mixture of bets in a Shiryaev-Roberts e-detector.

A bet multiplies the stake by e >= 0, whose mean is at most 1 while nothing changes. The e-detector (Shin,
Ramdas and Rinaldo, 2023) starts a new stake of 1 with every value: R_t = (R_{t-1} + 1) e_t. Without drift it
grows by at most one a value on average, so the mean number of values between false alarms is at least the
threshold. It is kept for each bet of the mixture; their mean is the statistic.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.drift.change_point import Excursion

CEILING, FLOOR = 1e300, 1e-300
"""Wealth is capped far above any threshold, so that a long alarm cannot overflow; however little, it has a log."""

_KEPT = ("_walk", "since", "seen", "drift_detected")


class BettingDetector(Excursion):
    """The e-detector of a mixture of four bets; who inherits says what the bets win.

    The four are written out: a loop over four numbers takes longer than what is done with them.

    Args:
        run: least mean number of values between false alarms.

    Attributes:
        threshold: log(run).
        drift_detected, since, seen: see `DriftDetector`; the change point is the start of the bet that won.
    """

    def __init__(self, run: float) -> None:
        self.threshold = math.log(run)
        self._run = run
        self._forget()

    def _forget(self) -> None:
        self._wealth = [0.0, 0.0, 0.0, 0.0]
        self._begin_excursion()
        self.seen = 0
        self.drift_detected = False

    @property
    def statistic(self) -> float:
        """Natural log of the e-detector; taken when asked for, which is far more seldom than a value comes."""
        return math.log(max(self._evidence(), FLOOR)) if self.seen else -math.inf

    def _settle(self, won: Sequence[float], stake: float = 1.0) -> None:
        """Take in what each bet on the newest value won, with how much is staked anew on each."""
        a, b, c, d = won
        v, w, x, y = self._wealth
        self._wealth = [(v + stake) * a, (w + stake) * b, (x + stake) * c, (y + stake) * d]
        self.seen += 1
        self._follow((a + b + c + d) / 4)
        self.drift_detected = self._evidence() >= self._run
        if self.drift_detected:
            self._wealth = [min(wealth, CEILING) for wealth in self._wealth]

    def _evidence(self) -> float:
        """The e-detector: what the bets hold on average."""
        v, w, x, y = self._wealth
        return (v + w + x + y) / 4

    def state(self) -> dict[str, Any]:
        """Everything that was learned, as a JSON object; the statistic follows from the rest, and is there to be read.

        JSON has no minus infinity.
        """
        statistic = self.statistic if self.seen else None
        return {name: getattr(self, name) for name in _KEPT} | {"wealth": list(self._wealth), "statistic": statistic}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name in _KEPT:
            setattr(self, name, state[name])
        self._wealth = list(state["wealth"])
