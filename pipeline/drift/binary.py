"""Drift of a yes-or-no signal: the share of ones rises.

The share so far is estimated with Jeffreys' prior, Beta(1/2, 1/2): t = (ones + 1/2) / (values + 1), reference and
stream together. Each bet is the likelihood ratio of a share that has r times the odds of t: r / (1 + (r-1) t) on a
one, 1 / (1 + (r-1) t) on a zero. Nothing is random.

Its guarantee is weaker in kind than that of `ConformalDetector`: the run between false alarms is at least the
threshold *averaged over shares drawn from the prior*. That it holds at each share, from 0.001 to 0.97 and with any
reference, was measured, not proved (docs/decisions/drift.md). In return it needs half the values: to a conformal
p-value a one says no more than "somewhere in (0, t)", and where in there is noise.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.drift.e_detector import BettingDetector

ODDS = (2.0, 4.0, 8.0, 16.0)
"""By how many times the odds of a one may have risen."""


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
        """Forget all evidence and compare with a new reference."""
        values = [bool(value) for value in reference]
        self._ones, self._values = sum(values), len(values)
        self._forget()

    def update(self, value: float) -> None:
        """Take in the next value; anything but 0 is a one."""
        one = bool(value)
        t = (self._ones + 0.5) / (self._values + 1)
        self._ones += one
        self._values += 1
        self._settle([(odds if one else 1.0) / (1.0 + (odds - 1.0) * t) for odds in ODDS])

    def state(self) -> dict[str, Any]:
        """Everything that was learned, as a JSON object."""
        return super().state() | {"ones": self._ones, "values": self._values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        super().restore(state)
        self._ones, self._values = state["ones"], state["values"]
