"""How far a difference between two strategies could be chance: a paired bootstrap over users.

Interactions of one user are not independent, so whole users are resampled (the cluster bootstrap of
Davison and Hinkley, 1997, section 3.8). The statistic is a ratio estimator, since users differ in how
much they do:

    mean = sum over resampled users of their sums / sum over resampled users of their counts

and all strategies are read off the same resamples, which is what pairs them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
"""Resamples drawn unless told otherwise."""

PERCENTILES = (2.5, 97.5)
"""Ends of the 95% percentile interval."""

_CELLS_AT_ONCE = 4_000_000
"""Resampled users held in memory at a time (32 MB of weights)."""


class Interval(NamedTuple):
    """A difference of two means and its 95% interval, in the unit of the metric."""

    difference: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A difference of two means among several, with and without regard to how many there are.

    Attributes:
        difference: in the unit of the metric.
        low, high: its own 95% interval.
        simultaneous_low, simultaneous_high: wide enough that all intervals of the family hold together with 95%.
    """

    difference: float
    low: float
    high: float
    simultaneous_low: float
    simultaneous_high: float


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, users: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Estimate mean(a) - mean(b) over the same interactions, with a 95% percentile interval.

    Args:
        a: (n,) values of one strategy, or (seeds, n): the seeds are averaged first, interaction by
            interaction, so the interval speaks of users and not of seeds.
        b: the same of the other strategy, on the same interactions in the same order.
        users: (n,) the user of each interaction.
        resamples: how many times users are drawn.
        seed: of the draws.

    Returns:
        The difference on the data itself, and the 2.5th and 97.5th percentile over resamples.

    Raises:
        ValueError: if there are no interactions, or shapes do not fit.
    """
    return paired_bootstraps(a, [b], users, resamples=resamples, seed=seed)[0]


def paired_bootstraps(
    a: ArrayLike, others: Sequence[ArrayLike], users: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Compare one strategy with several, drawing the users once for all of them.

    The result is that of `paired_bootstrap` with each of the others; see there for the arguments.

    Raises:
        ValueError: if there are no interactions, or shapes do not fit.
    """
    rows = paired_comparisons(a, others, users, resamples=resamples, seed=seed)
    return [Interval(*row[:3]) for row in rows]


def paired_comparisons(
    a: ArrayLike, others: Sequence[ArrayLike], users: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Comparison]:
    """Compare one strategy with several, as a family.

    The simultaneous intervals are `d_b ± c se_b` with se_b the standard deviation of the resampled differences and
    c the 95th percentile over resamples of max over b of `|d*_b - d_b| / se_b`: the single-step max-statistic
    (Romano and Wolf, 2005), which unlike Bonferroni knows how alike the differences are. With one other it is that
    one's studentised interval. See `paired_bootstrap` for the arguments.

    Raises:
        ValueError: if there are no interactions, or shapes do not fit.
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
    """Recompute the mean of every column on resampled users, all columns on the same users.

    Args:
        values: (n, columns) values, a row an interaction.
        users: (n,) the user of each interaction.
        resamples: how many times users are drawn, with replacement, as many as there are.
        seed: of the draws.

    Returns:
        (resamples, columns) means.

    Raises:
        ValueError: if there are no interactions, or shapes do not fit.
    """
    if values.ndim != 2 or len(values) == 0 or np.shape(users) != (len(values),):
        raise ValueError(f"need as many users as values, at least one; got {values.shape} and {np.shape(users)}")
    sums, counts = _per_user(values, np.asarray(users))
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS_AT_ONCE // len(counts))
    parts = []
    for start in range(0, resamples, step):
        weights = _draw(rng, min(step, resamples - start), len(counts))
        parts.append((weights @ sums) / (weights @ counts)[:, None])
    return np.concatenate(parts)


def _simultaneous_margin(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """(resamples, others) deviations from the differences to the (others,) half widths of joint intervals."""
    errors = deviations.std(axis=0, ddof=1)
    # A difference that chance cannot move has no width, and no say in the others'.
    moved = errors > 1e-12
    if not moved.any():
        return np.zeros_like(errors)
    worst = (np.abs(deviations[:, moved]) / errors[moved]).max(axis=1)
    margin: NDArray[np.float64] = np.percentile(worst, 95.0) * np.where(moved, errors, 0.0)
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
    """Count how often each user is drawn.

    Returns:
        (resamples, users) counts; each row sums to `users`.
    """
    drawn = rng.integers(0, users, size=(resamples, users))
    drawn += np.arange(resamples)[:, None] * users
    return np.bincount(drawn.ravel(), minlength=resamples * users).reshape(resamples, users).astype(np.float64)
