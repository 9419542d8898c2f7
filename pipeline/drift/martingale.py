"""Anytime-valid test of "no drift": the probability of *any* false alarm in a stream is bounded.

The wealth starts at 1 and is bet against uniform conformal p-values. Without drift it is a martingale, so it reaches
1 / alpha with a probability of at most alpha in a stream of any length (Ville, 1939). The reference may be small:
p-values rank each value among all values so far, and are uniform and independent all the same.

The time of a change is unknown, so the stakes are spread over the values: the t-th gets w_t, and the rest is kept. The
w_t sum to 1 slowly, so that late changes are still detected: the rest after t values is 1 / (1 + log(1 + t)).
"""

import math
from collections.abc import Iterable

from pipeline.drift.conformal import ConformalDetector, smooth_bets


def unstaked(values: int) -> float:
    """Share of the wealth that is left to stake after this number of values."""
    return 1.0 / (1.0 + math.log1p(values))


class MartingaleDetector(ConformalDetector):
    """Alarms when scores rise above what they were, falsely in at most a share alpha of streams of any length.

    Args:
        reference: scores from before the stream; may be empty.
        alpha: probability of any false alarm after the start or a reset.
        seed: for breaking ties of p-values.

    Attributes:
        statistic: natural log of the wealth.
        threshold: log(1 / alpha).
    """

    def __init__(self, reference: Iterable[float], alpha: float, seed: int) -> None:
        super().__init__(reference, 1.0 / alpha, seed)

    def update(self, value: float) -> None:
        """Update with the next score; larger is stranger."""
        stake = unstaked(self.seen) - unstaked(self.seen + 1)
        self._update_wealth(smooth_bets(self._ranks.p_value(value)), stake)

    def _evidence(self) -> float:
        """Wealth: the mean of the bets, and the part that is left to stake."""
        return super()._evidence() + unstaked(self.seen)
