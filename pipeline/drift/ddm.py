"""Drift detection method over errors of 0 or 1."""

import math


class Ddm:
    """Drift detection method (Gama et al., 2004), with the settings of the paper.

    With p the share of errors among n so far and s = sqrt(p (1 - p) / n), it alarms when

        p + s > p_min + 3 s_min

    p_min and s_min are those of the moment at which p + s was least. It has no reference and no bound on false alarms;
    after an alarm a new one is made.

    Attributes:
        drift_detected: True if the alarm is raised after the last value.
    """

    WARM_UP = 30
    """Values before anything is compared."""

    def __init__(self) -> None:
        self.drift_detected = False
        self._errors = self._values = 0
        self._least = (math.inf, math.inf)

    def update(self, error: bool) -> None:
        """Update with the next value."""
        self._errors += error
        self._values += 1
        share = self._errors / self._values
        deviation = math.sqrt(share * (1.0 - share) / self._values)
        if self._values < self.WARM_UP:
            return
        if share + deviation < sum(self._least):
            self._least = (share, deviation)
        self.drift_detected = share + deviation > self._least[0] + 3.0 * self._least[1]
