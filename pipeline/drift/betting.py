"""What detectors that bet against "nothing changed" share: a mixture of bets in a Shiryaev-Roberts e-detector.

A bet multiplies the stake by e >= 0, whose mean is at most 1 while nothing changes. The e-detector (Shin,
Ramdas and Rinaldo, 2023) starts a new stake of 1 with every value: R_t = (R_{t-1} + 1) e_t. Without drift it
grows by at most one a value on average, so the mean number of values between false alarms is at least the
threshold. It is kept for each bet of the mixture; their mean is the statistic.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

CEILING = 1e300
"""Wealth is capped far above any threshold, so that a long alarm cannot overflow."""

_KEPT = ("_walk", "since", "seen", "drift_detected")


class BettingDetector:
    """The e-detector of a mixture of bets; who inherits says what the bets win.

    Args:
        bets: how many there are.
        run: least mean number of values between false alarms.

    Attributes:
        statistic: natural log of the e-detector.
        threshold: log(run).
        drift_detected, since, seen: see `DriftDetector`; the change point is the start of the bet that won.
    """

    def __init__(self, bets: int, run: float) -> None:
        self.threshold = math.log(run)
        self._run = run
        self._bets = bets
        self._forget()

    def _forget(self) -> None:
        self._wealth = [0.0] * self._bets
        self._walk = 0.0
        self.since = 0
        self.seen = 0
        self.statistic = -math.inf
        self.drift_detected = False

    def _settle(self, won: Sequence[float], stake: float = 1.0, unstaked: float = 0.0) -> None:
        """Take in what each bet on the newest value won, with how much staked anew and how much kept out of play."""
        self.seen += 1
        self._excursion(sum(won) / len(won))
        held = self._wealth
        for i, e in enumerate(won):
            wealth = (held[i] + stake) * e
            held[i] = wealth if wealth < CEILING else CEILING
        self._weigh(sum(held) / len(held) + unstaked)

    def _excursion(self, won: float) -> None:
        """Follow since when the mixture has been winning."""
        walk = self._walk + math.log(won)
        if walk > 0.0:
            self._walk = walk
            self.since += 1
        else:
            self._walk = 0.0
            self.since = 0

    def _weigh(self, wealth: float) -> None:
        self.statistic = math.log(wealth) if wealth > 1e-300 else math.log(1e-300)
        self.drift_detected = wealth >= self._run

    def state(self) -> dict[str, Any]:
        """Everything that was learned, as a JSON object; JSON has no minus infinity."""
        statistic = self.statistic if self.seen else None
        return {name: getattr(self, name) for name in _KEPT} | {"wealth": list(self._wealth), "statistic": statistic}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name in _KEPT:
            setattr(self, name, state[name])
        self._wealth = list(state["wealth"])
        self.statistic = -math.inf if state["statistic"] is None else state["statistic"]
