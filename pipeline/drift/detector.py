"""What every drift detector answers: the shape of river's detectors, with direction and reset stated."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class DriftDetector(Protocol):
    """Watches one signal of one region.

    Direction: an alarm means that the values *rose*; larger is stranger. A fall is never an alarm.
    Reset: the detectors that bet let an alarm stand while the evidence lasts; river's show it for one value and start
    again by themselves. Who acts on an alarm calls `reset` with values that are normal from then on, and the
    guarantee starts anew.
    Determinism: the same arguments and values give the same answers.

    Attributes:
        drift_detected: whether the alarm is raised after the last value.
        threshold: the statistic from which on there is an alarm.
        since: values since the change point as estimated now; 0 where nothing has begun to rise.
        seen: values taken in since the start or the last reset.
    """

    drift_detected: bool
    threshold: float
    since: int
    seen: int

    @property
    def statistic(self) -> float:
        """Evidence of drift; -inf before the first value. Only comparable with `threshold`."""

    def update(self, value: float) -> None:
        """Take in the next value."""

    def reset(self, reference: Iterable[float]) -> None:
        """Forget all evidence and compare with a new reference, which may be empty."""

    def state(self) -> dict[str, Any]:
        """Everything that was learned, as a JSON object."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on, bit for bit, from what `state` of a detector made with the same arguments gave."""
