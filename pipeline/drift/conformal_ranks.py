"""Conformal p-values of a stream: each value's rank among the reference and everything since."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

BUFFERED = 64
"""Random numbers drawn at once: one by one each costs as much as the rank itself. The sequence is the same."""


class ConformalRanks:
    """Smoothed ranks: independent and uniform as long as nothing changes (Vovk et al., 2005).

    That holds whatever the distribution and however small the reference, because what came since counts as well.

    Args:
        reference: values from before the stream; may be empty.
        seed: for breaking ties.
    """

    def __init__(self, reference: Iterable[float], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._drawn: list[float] = []
        self.reset(reference)

    def reset(self, reference: Iterable[float]) -> None:
        """Compare with a new reference."""
        # Not a list: here the numbers lie side by side, and those above a new one are moved in one piece.
        self._past = array("d", sorted(reference))

    def p_value(self, value: float) -> float:
        """Share of the past that is at least as strange, ties broken at random; the value is past from now on."""
        past = self._past
        low = bisect_left(past, value)
        # Most values have no equal in the past; only those that do are searched for a second time.
        high = low if low == len(past) or past[low] > value else bisect_right(past, value, low)
        if not self._drawn:
            self._drawn = self._rng.random(BUFFERED).tolist()[::-1]
        p = (len(past) - high + self._drawn.pop() * (high - low + 1)) / (len(past) + 1)
        past.insert(high, value)
        return p

    def state(self) -> dict[str, Any]:
        """Everything, as a JSON object."""
        return {"past": list(self._past), "drawn": list(self._drawn), "rng": self._rng.bit_generator.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._past, self._drawn = array("d", state["past"]), list(state["drawn"])
        self._rng.bit_generator.state = state["rng"]
