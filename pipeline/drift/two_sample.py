"""The classifier two-sample statistic: can a gate tell new windows from set-up windows?

A gate is fitted to tell older windows of the stream from one half of the set-up windows, and judged by how it ranks
newer windows, which it has not seen, against the other half. The statistic is the area under the ROC curve: the chance
that a new window looks less like set-up to it than a set-up window does. 0.5 without drift, 1 if nothing is as before.
It moves where no single window looks strange, but the windows together do.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Array
from pipeline.regions.features import Encoded
from pipeline.regions.origin_classifier import fit_origins

LEAST_WINDOWS = 8
"""Of each of the samples; fewer rank next to nothing."""


@dataclass(frozen=True, slots=True)
class Telling:
    """How well newer windows were told from set-up windows.

    Attributes:
        auc: area under the ROC curve; 0.5 without drift.
        error: its standard error without drift, were the windows independent.
    """

    auc: float
    error: float


def tell_apart(setup: Array, older: Array, newer: Array, penalty: float, seed: int) -> Telling:
    """Fit a gate on older windows and set-up ones, and judge it on newer ones and set-up ones it has not seen.

    Args:
        setup: (n, f) gate features of set-up windows.
        older: (m, f) of stream windows.
        newer: (k, f) of stream windows after these.
        penalty: see `gate.penalty`.
        seed: of the halving of the set-up windows.

    Raises:
        ValueError: a sample has fewer than `LEAST_WINDOWS` windows (set-up: twice that).
    """
    if min(len(setup) // 2, len(older), len(newer)) < LEAST_WINDOWS:
        raise ValueError(
            f"{len(setup)} set-up, {len(older)} older and {len(newer)} newer windows: a telling needs "
            f"{2 * LEAST_WINDOWS}, {LEAST_WINDOWS} and {LEAST_WINDOWS}"
        )
    shuffled = setup[np.random.default_rng(seed).permutation(len(setup))]
    learned, judged = shuffled[: len(setup) // 2], shuffled[len(setup) // 2 :]
    # When a window came would tell it from set-up at once, drift or no drift.
    samples = [Encoded.timeless(learned), Encoded.timeless(older)]
    gate = fit_origins((1,), samples, np.zeros((1, 0)), (1.0, 1.0), penalty)
    low, high = (gate.posterior(Encoded.timeless(windows))[:, 1] for windows in (judged, newer))
    auc = area_under_roc(low, high)
    n, m = len(judged), len(newer)
    return Telling(auc, math.sqrt((n + m + 1) / (12 * n * m)))


def area_under_roc(low: Array, high: Array) -> float:
    """Share of pairs of which the one of `high` (m,) is larger than the one of `low` (n,); a tie is half a pair."""
    ranked = np.sort(low)
    below = np.searchsorted(ranked, high, side="left") + np.searchsorted(ranked, high, side="right")
    return float(below.mean() / (2 * len(low)))
