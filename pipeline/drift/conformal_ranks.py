"""Conformal p-values of a stream: the rank of each value among the reference and all values since."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

BUFFERED = 64
"""Random numbers drawn at once: drawn singly, each costs as much as the rank. The sequence is the same."""


class ConformalRanks:
    """Smoothed ranks: independent and uniform without drift (Vovk et al., 2005).

    That holds for any distribution and any size of the reference, because the values since are ranked among as well.

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
        # An array, not a list: its numbers are contiguous, so an insertion moves one block of memory.
        self._past = array("d", sorted(reference))

    def p_value(self, value: float) -> float:
        """Share of the past that is at least as strange, ties broken at random; the value then joins the past."""
        past = self._past
        low = bisect_left(past, value)
        # Most values have no equal in the past: only the others need a second search.
        high = low if low == len(past) or past[low] > value else bisect_right(past, value, low)
        if not self._drawn:
            self._drawn = self._rng.random(BUFFERED).tolist()[::-1]
        p = (len(past) - high + self._drawn.pop() * (high - low + 1)) / (len(past) + 1)
        past.insert(high, value)
        return p

    def state(self) -> dict[str, Any]:
        """All learned state, as a JSON object."""
        return {"past": list(self._past), "drawn": list(self._drawn), "rng": self._rng.bit_generator.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `state`."""
        self._past, self._drawn = array("d", state["past"]), list(state["drawn"])
        self._rng.bit_generator.state = state["rng"]
