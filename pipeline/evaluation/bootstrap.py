"""Paired bootstrap over users: confidence intervals of differences between strategies.

Interactions of one user are not independent, so whole users are resampled (the cluster bootstrap of
Davison and Hinkley, 1997, section 3.8). The statistic is a ratio estimator, since users differ in
their number of interactions:

    mean = sum over resampled users of their sums / sum over resampled users of their counts

computed for all strategies on the same resamples, which pairs them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
"""Default number of resamples."""

PERCENTILES = (2.5, 97.5)
"""Ends of the 95% percentile interval."""

_CELLS_AT_ONCE = 4_000_000
"""Resampled users held in memory at a time (32 MB of weights)."""


class Interval(NamedTuple):
    """Difference of two means and its 95% interval, in the unit of the metric."""

    difference: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Difference of two means in a family of comparisons, with a single and a simultaneous interval.

    Attributes:
        difference: in the unit of the metric.
        low, high: 95% interval of this difference alone.
        simultaneous_low, simultaneous_high: interval with 95% joint coverage over the family.
    """

    difference: float
    low: float
    high: float
    simultaneous_low: float
    simultaneous_high: float


def paired_comparisons(
    a: ArrayLike, others: Sequence[ArrayLike], users: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Comparison]:
    """Compare one strategy with several, as a family.

    The simultaneous intervals are `d_b ± c se_b` with se_b the standard deviation of the resampled differences and
    c the 95th percentile over resamples of max over b of `|d*_b - d_b| / se_b`: the single-step max-statistic
    (Romano and Wolf, 2005), which unlike Bonferroni accounts for the correlation of the differences. With a single
    other strategy it is the studentised interval.

    Args:
        a: (n,) values of one strategy, or (seeds, n): seeds are averaged first, interaction by interaction, so that
            the intervals describe the variation over users, not seeds.
        others: the same of each other strategy, on the same interactions in the same order.
        users: (n,) the user of each interaction.
        resamples: number of times that users are drawn.
        seed: of the draws.

    Returns:
        For each other strategy the difference on the data itself, and its intervals.

    Raises:
        ValueError: there are no interactions, or shapes do not fit.
    """
    values = np.column_stack([_over_seeds(a), *(_over_seeds(other) for other in others)])
    means = resampled_means(values, users, resamples=resamples, seed=seed)
    resampled = means[:, :1] - means[:, 1:]
    low, high = np.percentile(resampled, PERCENTILES, axis=0)
    difference = values[:, 0].mean() - values[:, 1:].mean(axis=0)
    margin = _simultaneous_margin(resampled - difference)
    columns = zip(difference, low, high, difference - margin, difference + margin, strict=True)
    return [Comparison(*map(float, row)) for row in columns]


def resampled_means(
    values: NDArray[np.float64], users: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Mean of every column on resampled users, all columns on the same users.

    Args:
        values: (n, columns) values, one row per interaction.
        users: (n,) the user of each interaction.
        resamples: number of times that users are drawn, with replacement, as many as there are.
        seed: of the draws.

    Returns:
        (resamples, columns) means.

    Raises:
        ValueError: there are no interactions, or shapes do not fit.
    """
    if values.ndim != 2 or len(values) == 0 or np.shape(users) != (len(values),):
        raise ValueError(f"need as many users as values, at least one; got {values.shape} and {np.shape(users)}")
    sums, counts = _per_user(values, np.asarray(users))
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS_AT_ONCE // len(counts))
    batches = []
    for start in range(0, resamples, step):
        weights = _draw(rng, min(step, resamples - start), len(counts))
        batches.append((weights @ sums) / (weights @ counts)[:, None])
    return np.concatenate(batches)


def _simultaneous_margin(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """(resamples, others) deviations from the differences to the (others,) half widths of joint intervals."""
    errors = deviations.std(axis=0, ddof=1)
    # A difference without variation has no width, and must not affect the others.
    varies = errors > 1e-12
    if not varies.any():
        return np.zeros_like(errors)
    worst = (np.abs(deviations[:, varies]) / errors[varies]).max(axis=1)
    margin: NDArray[np.float64] = np.percentile(worst, 95.0) * np.where(varies, errors, 0.0)
    return margin


def _over_seeds(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    return array if array.ndim == 1 else array.mean(axis=0)


def _per_user(
    values: NDArray[np.float64], users: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the rows of each user.

    Returns:
        (users, columns) sums and (users,) counts.
    """
    _, index = np.unique(users, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    sums = np.zeros((len(counts), values.shape[1]))
    for number, column in enumerate(values.T):
        sums[:, number] = np.bincount(index, weights=column)
    return sums, counts


def _draw(rng: np.random.Generator, resamples: int, users: int) -> NDArray[np.float64]:
    """Draw users, and count the draws of each.

    Returns:
        (resamples, users) counts; each row sums to `users`.
    """
    drawn = rng.integers(0, users, size=(resamples, users))
    drawn += np.arange(resamples)[:, None] * users
    return np.bincount(drawn.ravel(), minlength=resamples * users).reshape(resamples, users).astype(np.float64)
