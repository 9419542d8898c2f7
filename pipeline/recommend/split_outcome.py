"""Outcome of a split: the share of clicked answers of each generation, and their difference, with intervals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from pipeline.events.split import Split
from pipeline.recommend.ab_test import Counts, Interval, design_effect, difference

ERROR = 0.05
"""Error of the intervals."""

NORMAL = 1.959964
"""Standard errors of a 95% interval."""


@dataclass(frozen=True)
class Arm:
    """Answers of one generation.

    Attributes:
        generation: its number.
        shown, clicked: answers that users saw, and those of them that were clicked.
        low, high: 95% interval of the share that is clicked; None before any answer was shown.
    """

    generation: int
    shown: int
    clicked: int
    low: float | None
    high: float | None

    @classmethod
    def of(cls, generation: int, counts: Counts) -> Self:
        """Count the buckets of a generation.

        The interval is Wilson's, of as many answers as were shown over the design effect: answers to the same users are
        not independent.
        """
        shown, clicked = map(int, counts.sum(axis=0))
        if not shown:
            return cls(generation, 0, 0, None, None)
        rate, n = clicked / shown, shown / design_effect(counts)
        middle = (rate + NORMAL**2 / (2.0 * n)) / (1.0 + NORMAL**2 / n)
        half = NORMAL * np.sqrt(rate * (1.0 - rate) / n + NORMAL**2 / (4.0 * n**2)) / (1.0 + NORMAL**2 / n)
        return cls(generation, shown, clicked, max(0.0, float(middle - half)), min(1.0, float(middle + half)))

    def __str__(self) -> str:
        """The arm in a line."""
        if self.low is None or self.high is None:
            return f"generation {self.generation}: no answer was shown"
        rate = f"{self.clicked / self.shown:.4f} (95% interval {self.low:.4f} to {self.high:.4f})"
        return f"generation {self.generation}: {self.clicked:,} of {self.shown:,} shown answers clicked, {rate}"


@dataclass(frozen=True)
class SplitOutcome:
    """Comparison of both sides of a split.

    Attributes:
        tried: the generation that answers the share.
        others: the one that answers all others.
        difference: of the shares of clicked answers, `tried` minus `others`, with bounds that hold at every look; None
            as long as too few answers were shown.
    """

    tried: Arm
    others: Arm
    difference: Interval | None

    @classmethod
    def of(cls, split: Split, counts: Counts) -> Self:
        """Compare by (BUCKETS, 2) shown and clicked answers."""
        reached = split.reached
        arms = Arm.of(split.generation, counts[reached]), Arm.of(split.beside, counts[~reached])
        return cls(*arms, difference(counts, reached, ERROR) if not reached.all() else None)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        found = record["difference"]
        interval = None if found is None else Interval(**found)
        return cls(Arm(**record["tried"]), Arm(**record["others"]), interval)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        """The comparison in a line."""
        if self.difference is None:
            return f"{self.tried}; {self.others}; too few for a difference"
        one = self.difference
        bounds = f"{one.low:+.4f} to {one.high:+.4f}"
        return f"{self.tried}; {self.others}; difference {one.estimate:+.4f} (95% interval at any time {bounds})"
