"""The classifier two-sample statistic: AUC of a classifier between new windows and set-up windows.

The origin classifier is fitted to separate older windows of the stream from one half of the set-up windows, and judged
by its ranking of newer windows, unused so far, against the other half. The statistic is the area under the ROC curve:
the probability that a new window gets a higher posterior of the stream than a set-up window does. It is 0.5 without
drift and 1 for disjoint scores, and it rises where no single window is unusual, but the windows together are.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Array
from pipeline.regions.encoded import Encoded
from pipeline.regions.origin_classifier import fit_origins

LEAST_WINDOWS = 8
"""Least number of windows of each sample; fewer give no useful ranking."""


@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """Separation of newer windows from set-up windows.

    Attributes:
        auc: area under the ROC curve; 0.5 without drift.
        error: its standard error without drift, for independent windows.
    """

    auc: float
    error: float


def compare_samples(setup: Array, older: Array, newer: Array, penalty: float, seed: int) -> TwoSampleResult:
    """Fit a classifier on older windows and half of the set-up windows, and judge it on the rest.

    Args:
        setup: (n, f) features of set-up windows.
        older: (m, f) of stream windows.
        newer: (k, f) of stream windows after these.
        penalty: see `gate.penalty`.
        seed: of the halving of the set-up windows.

    Raises:
        ValueError: a sample has fewer than `LEAST_WINDOWS` windows (set-up: twice that).
    """
    if min(len(setup) // 2, len(older), len(newer)) < LEAST_WINDOWS:
        raise ValueError(
            f"{len(setup)} set-up, {len(older)} older and {len(newer)} newer windows: a comparison needs "
            f"{2 * LEAST_WINDOWS}, {LEAST_WINDOWS} and {LEAST_WINDOWS}"
        )
    shuffled = setup[np.random.default_rng(seed).permutation(len(setup))]
    learned, judged = shuffled[: len(setup) // 2], shuffled[len(setup) // 2 :]
    # Without times: they would separate the samples even without drift.
    samples = [Encoded.timeless(learned), Encoded.timeless(older)]
    gate = fit_origins((1,), samples, np.zeros((1, 0)), (1.0, 1.0), penalty)
    low, high = (gate.posterior(Encoded.timeless(windows))[:, 1] for windows in (judged, newer))
    auc = area_under_roc(low, high)
    n, m = len(judged), len(newer)
    return TwoSampleResult(auc, math.sqrt((n + m + 1) / (12 * n * m)))


def area_under_roc(low: Array, high: Array) -> float:
    """Share of pairs in which the value of `high` (m,) exceeds that of `low` (n,); a tie counts half."""
    ranked = np.sort(low)
    below = np.searchsorted(ranked, high, side="left") + np.searchsorted(ranked, high, side="right")
    return float(below.mean() / (2 * len(low)))
