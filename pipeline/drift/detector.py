"""Interface of drift detectors: that of river's, with direction and reset defined."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class DriftDetector(Protocol):
    """Detector of one signal in one region.

    Direction: an alarm means that the values *rose*; larger is stranger. A fall never raises an alarm.
    Reset: the detectors that bet keep an alarm while the evidence lasts; river's raise it for one value and then
    restart. After an edit the monitor calls `reset` with values that count as normal from then on, and the guarantee
    starts again.
    Determinism: the same arguments and values give the same alarms.

    Attributes:
        drift_detected: whether the alarm is raised after the last value.
        threshold: least statistic of an alarm.
        since: number of values since the estimated change point; 0 without a rise.
        seen: number of values since the start or the last reset.
    """

    drift_detected: bool
    threshold: float
    since: int
    seen: int

    @property
    def statistic(self) -> float:
        """Evidence of drift; -inf before the first value. Only comparable with `threshold`."""

    def update(self, value: float) -> None:
        """Update with the next value."""

    def reset(self, reference: Iterable[float]) -> None:
        """Drop all evidence and compare with a new reference, which may be empty."""

    def state(self) -> dict[str, Any]:
        """All learned state, as a JSON object."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue exactly from the state of a detector with the same arguments."""
