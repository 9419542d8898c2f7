"""Rows that can be the most popular now, with a bound of all others, so that few counts are compared at an event."""

import math

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import Ids

EVENTS = 256
"""Events after which the pool is collected anew: the work over all items is spread over as many."""


class PopularityPool:
    """Rows with the highest counts by any half-life, those of the highest popularity in set-up, and those taken since.

    Counts of all other rows do not change: weights of new events grow instead.

    Args:
        counts: (half_lives, items + 1) counts.
        usual: (items + 1,) popularity in set-up.
        leading: number of rows by each half-life, and by set-up.

    Attributes:
        leading: as given.
        rows: (p,) rows of the pool.
        count_bounds: (half_lives,) counts that no other row exceeds; -inf where there is no other one.
        usual_bound: popularity in set-up that no other row exceeds.
    """

    def __init__(self, counts: Array, usual: Array, leading: int) -> None:
        self.leading = leading
        *by_counts, by_usual = [_leading(values, leading) for values in (*counts, usual)]
        self.rows = np.unique(np.concatenate([rows for rows, _ in (*by_counts, by_usual)]))
        self.count_bounds, self.usual_bound = np.array([bound for _, bound in by_counts]), by_usual[1]
        self._members = set(self.rows.tolist())
        self._left = EVENTS

    @property
    def is_old(self) -> bool:
        """True once it should be collected anew."""
        return self._left <= 0

    def add(self, row: int) -> None:
        """Take in a row that an event counts for."""
        self._left -= 1
        if row not in self._members:
            self._members.add(row)
            self.rows = np.append(self.rows, row)

    def admit_others(self, usual: float) -> None:
        """Note that there are other rows without counts, with a popularity in set-up."""
        self.count_bounds = np.maximum(self.count_bounds, 0.0)
        self.usual_bound = max(self.usual_bound, usual)


def _leading(values: Array, number: int) -> tuple[Ids, float]:
    """Rows of the highest of (items + 1,) values, and a bound of the others."""
    if number >= len(values):
        return np.arange(len(values)), -math.inf
    order = np.argpartition(values, len(values) - number)[len(values) - number :]
    return order, float(values[order[0]])
