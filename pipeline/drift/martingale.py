"""An anytime-valid test of "nothing ever changes": the chance of *any* false alarm in a stream is bounded.

Wealth starts at 1 and is bet against uniform conformal p-values. While nothing changes it is a martingale, so it ever
reaches 1 / alpha with a chance of at most alpha, however long the stream (Ville, 1939). The reference may be small:
p-values rank each value among everything so far, and are uniform and independent all the same.

As it is not known when a change comes, the wealth is spread over the values: the stake of the t-th is w_t, and what
is not yet staked is kept. The w_t sum to 1, as slowly as sums can, so that late changes are still found: what is left
after t values is 1 / (1 + log(1 + t)).
"""

import math
from collections.abc import Iterable

from pipeline.drift.conformal import ConformalDetector, smooth_bets


def unstaked(values: int) -> float:
    """Share of the wealth that is not yet staked after so many values."""
    return 1.0 / (1.0 + math.log1p(values))


class MartingaleDetector(ConformalDetector):
    """Alarms when scores rise above what they were; falsely at most once in 1 / alpha streams of any length.

    Args:
        reference: scores from before the stream; may be empty.
        alpha: chance of any false alarm between the start, or a reset, and the end of time.
        seed: for breaking ties of p-values.

    Attributes:
        statistic: natural log of the wealth.
        threshold: log(1 / alpha).
    """

    def __init__(self, reference: Iterable[float], alpha: float, seed: int) -> None:
        super().__init__(reference, 1.0 / alpha, seed)

    def update(self, value: float) -> None:
        """Take in the next score; larger is stranger."""
        stake = unstaked(self.seen) - unstaked(self.seen + 1)
        self._settle(smooth_bets(self._ranks.p_value(value)), stake)

    def _evidence(self) -> float:
        """The wealth: what the bets hold on average, and what is not yet staked."""
        return super()._evidence() + unstaked(self.seen)
