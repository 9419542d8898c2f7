"""Change point estimate of detectors that bet: the start of the present rise of their log wealth.

The log of the mixture's gain on each value is summed up, and the sum restarts at zero whenever it falls below. Without
drift it restarts often; after a change it rises from about the change point on.
"""

import math


class ChangePointEstimate:
    """Base class with the running sum of log gains.

    Attributes:
        since: number of values since the sum was last zero.
    """

    _walk: float
    since: int

    def _restart_sum(self) -> None:
        self._walk = 0.0
        self.since = 0

    def _add_gain(self, gain: float) -> None:
        """Add the log of the mixture's gain on the newest value."""
        walk = self._walk + math.log(gain)
        if walk > 0.0:
            self._walk = walk
            self.since += 1
        else:
            self._restart_sum()
