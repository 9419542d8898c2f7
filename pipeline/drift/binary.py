"""Detector of drift in binary values: the share of ones rises.

The share so far is estimated with Jeffreys' prior, Beta(1/2, 1/2): t = (ones + 1/2) / (values + 1), reference and
stream together. Each bet is the likelihood ratio of a share that has r times the odds of t: r / (1 + (r-1) t) on a
one, 1 / (1 + (r-1) t) on a zero. Nothing is random.

Its guarantee is weaker than that of `ConformalDetector`: the run between false alarms is at least the threshold
*averaged over shares drawn from the prior*. For single shares, from 0.001 to 0.97 and with any reference, that was
measured, not proved (docs/decisions/drift.md). In return it needs half the values: the conformal p-value of a one is
uniform on (0, t), and that noise costs evidence.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.drift.e_detector import BettingDetector

ODDS = (2.0, 4.0, 8.0, 16.0)
"""Factors on the odds of a one, one for each bet."""


class BinaryDetector(BettingDetector):
    """Alarms when ones become more frequent than they were.

    Args:
        reference: values from before the stream, 0 or 1 each; may be empty.
        expected_run: least mean number of values between false alarms.
    """

    def __init__(self, reference: Iterable[float], expected_run: float) -> None:
        super().__init__(expected_run)
        self.reset(reference)

    def reset(self, reference: Iterable[float]) -> None:
        """Drop all evidence and compare with a new reference."""
        values = [bool(value) for value in reference]
        self._ones, self._values = sum(values), len(values)
        self._clear()

    def update(self, value: float) -> None:
        """Update with the next value; anything but 0 is a one."""
        one = bool(value)
        t = (self._ones + 0.5) / (self._values + 1)
        self._ones += one
        self._values += 1
        self._update_wealth([(odds if one else 1.0) / (1.0 + (odds - 1.0) * t) for odds in ODDS])

    def state(self) -> dict[str, Any]:
        """All learned state, as a JSON object."""
        return super().state() | {"ones": self._ones, "values": self._values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `state`."""
        super().restore(state)
        self._ones, self._values = state["ones"], state["values"]
