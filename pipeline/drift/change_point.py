"""Since when bets have been winning: the change point, as estimated now.

The log of what a mixture of bets wins on each value is summed up, and the sum starts again at zero whenever it falls
that low. While nothing changes that is soon; after a change it rises from about there on.
"""

import math


class Excursion:
    """What every detector that makes bets keeps of how they go.

    Attributes:
        since: values since the sum last was zero.
    """

    _walk: float
    since: int

    def _begin_excursion(self) -> None:
        """Nothing has been won."""
        self._walk = 0.0
        self.since = 0

    def _follow(self, won: float) -> None:
        """Take in what the mixture won on the newest value."""
        walk = self._walk + math.log(won)
        if walk > 0.0:
            self._walk = walk
            self.since += 1
        else:
            self._begin_excursion()
