"""Detector of drift in any score: its conformal p-values stop being uniform.

A p-value is a score's rank among the reference and everything since (`pipeline.drift.conformal_ranks`). Bets against
uniformity that win on small p-values make the e-detector of `pipeline.drift.e_detector` rise.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.drift.conformal_ranks import ConformalRanks
from pipeline.drift.e_detector import BettingDetector

POWERS = (0.3, 0.6)
"""Exponents a of the power bets e(p) = a p^(a-1), which gain most on few very small p-values."""

SLOPES = (0.4, 0.9)
"""Slopes b of the linear bets e(p) = 1 + b (1 - 2p), which gain on p-values that are smaller on average."""

SMALLEST = 1e-6
"""Lower limit of p-values, so that a bet stays finite."""

_STEEP, _FLAT = POWERS
_LOW, _HIGH = SLOPES


def smooth_bets(p: float) -> tuple[float, float, float, float]:
    """Gains of the bets on small p-values; each has mean 1 for uniform p, slightly less because of the limit."""
    # A call of `max` costs as much as two of the bets.
    p = p if p > SMALLEST else SMALLEST
    centred = 1.0 - 2.0 * p
    return (_STEEP * p ** (_STEEP - 1.0), _FLAT * p ** (_FLAT - 1.0), 1.0 + _LOW * centred, 1.0 + _HIGH * centred)


class ConformalDetector(BettingDetector):
    """Alarms when scores rise above what they were.

    Args:
        reference: scores from before the stream; may be empty.
        expected_run: least mean number of values between false alarms.
        seed: for breaking ties of p-values.
    """

    def __init__(self, reference: Iterable[float], expected_run: float, seed: int) -> None:
        super().__init__(expected_run)
        self._ranks = ConformalRanks(reference, seed)

    def reset(self, reference: Iterable[float]) -> None:
        """Drop all evidence and compare with a new reference."""
        self._ranks.reset(reference)
        self._clear()

    def update(self, value: float) -> None:
        """Update with the next score; larger is stranger."""
        self._update_wealth(smooth_bets(self._ranks.p_value(value)))

    def state(self) -> dict[str, Any]:
        """All learned state, as a JSON object."""
        return super().state() | {"ranks": self._ranks.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `state`."""
        super().restore(state)
        self._ranks.restore(state["ranks"])
