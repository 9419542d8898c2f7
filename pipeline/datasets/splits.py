"""Global time slices: S for set-up, F for fine-tuning, T for testing.

The cuts are moments, the same for every user: with a per-user split the set-up slice would contain events from after
the start of F.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

Slice = Literal["S", "F", "T"]

QUANTILES = (0.5, 0.8)
"""Ends of S and F, as quantiles of the timestamps of positive interactions."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Two cuts in time.

    Attributes:
        setup_until: end of S, included, in seconds since 1970.
        finetune_until: end of F, included; T holds the rest.
    """

    setup_until: float
    finetune_until: float

    def of(self, timestamp: float) -> Slice:
        """Return the slice of a moment, in seconds since 1970."""
        if timestamp <= self.setup_until:
            return "S"
        return "F" if timestamp <= self.finetune_until else "T"

    def bounds(self, timestamps: NDArray[np.float64]) -> tuple[int, int]:
        """Return the numbers of ascending timestamps in S, and in S and F."""
        until = (self.setup_until, self.finetune_until)
        first, second = np.searchsorted(timestamps, until, side="right").tolist()
        return first, second


def cut(timestamps: Sequence[float] | NDArray[np.float64], quantiles: tuple[float, float] = QUANTILES) -> Slices:
    """Cut a log into S, F and T.

    A cut is an actual order statistic, `sorted(timestamps)[int(n * q)]`, so events of one second stay together.

    Args:
        timestamps: of the positive interactions, in seconds, in any order.
        quantiles: ends of S and F, 0 < S < F < 1.

    Raises:
        DataError: the quantiles are out of order, or a slice would be empty.
    """
    first, second = quantiles
    if first == 1:
        raise DataError(
            "data.finetune_from is 1: set-up learns from the whole log, and nothing is left to replay or to produce; "
            "`raie setup` and `raie histories load` take such a log"
        )
    if not 0 < first < second < 1:
        raise DataError(f"the quantiles must satisfy 0 < S < F < 1, not S={first}, F={second}")
    ordered = np.sort(np.asarray(timestamps, dtype=np.float64))
    if not len(ordered):
        raise DataError("there is no positive interaction to cut into slices; lower the threshold of positive values")
    slices = Slices(*(float(ordered[math.floor(len(ordered) * q)]) for q in quantiles))
    _refuse_empty(slices, ordered, quantiles)
    return slices


def _refuse_empty(slices: Slices, ordered: NDArray[np.float64], quantiles: tuple[float, float]) -> None:
    first, second = slices.bounds(ordered)
    sizes = {"S": first, "F": second - first, "T": len(ordered) - second}
    empty = [name for name, size in sizes.items() if not size]
    if empty:
        counts = ", ".join(f"{name}={size}" for name, size in sizes.items())
        moments = len(np.unique(ordered))
        raise DataError(
            f"slice {' and '.join(empty)} would be empty: {len(ordered)} positive interactions at {moments} "
            f"different moments, cut at the quantiles {quantiles[0]} and {quantiles[1]}, give {counts}. "
            "Use a longer log, other quantiles, or timestamps finer than these"
        )
