"""Ranks of targets, and what a rank is worth.

The one convention of ranks: 1 is the top, and 0 stands for *asked but not scored*. An interaction
that a strategy was asked about and did not score counts as a miss in every metric, so that leaving
users out can only lower a figure, never raise it.

Every metric returns one value an interaction; its mean over interactions is the figure, and its sums
over users are what the bootstrap resamples.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

NOT_SCORED = 0
"""The rank of a target that was asked for and not scored."""


def recall_at_k(ranks: ArrayLike, k: int) -> Floats:
    """Recall@k of one relevant item an interaction: 1 if `1 <= rank <= k`, else 0.

    Args:
        ranks: (n,) ranks, 1 = top, 0 = not scored.
        k: length of the recommended list, at least 1.

    Returns:
        (n,) zeros and ones.

    Raises:
        ValueError: for a `k` below 1, and for ranks that are no whole numbers or negative.
    """
    checked = _checked(ranks)
    return _listed(checked, k).astype(np.float64)


def ndcg_at_k(ranks: ArrayLike, k: int) -> Floats:
    """NDCG@k of one relevant item an interaction: `1 / log2(1 + rank)` if `1 <= rank <= k`, else 0.

    With a single relevant item the ideal gain is 1, so the gain needs no further normalising
    (Järvelin and Kekäläinen, 2002).

    Args:
        ranks: (n,) ranks, 1 = top, 0 = not scored.
        k: length of the recommended list, at least 1.

    Returns:
        (n,) gains in [0, 1].

    Raises:
        ValueError: for a `k` below 1, and for ranks that are no whole numbers or negative.
    """
    checked = _checked(ranks)
    listed = _listed(checked, k)
    return np.where(listed, 1.0 / np.log2(1.0 + np.where(listed, checked, 1)), 0.0)


def mrr(ranks: ArrayLike) -> Floats:
    """Reciprocal rank of one relevant item an interaction: `1 / rank`, and 0 where it was not scored.

    Args:
        ranks: (n,) ranks, 1 = top, 0 = not scored.

    Returns:
        (n,) reciprocal ranks in [0, 1]; their mean is the MRR.

    Raises:
        ValueError: for ranks that are no whole numbers or negative.
    """
    checked = _checked(ranks)
    return np.where(checked > NOT_SCORED, 1.0 / np.maximum(checked, 1), 0.0)


def rank_of_targets(scores: ArrayLike, targets: ArrayLike, excluded: ArrayLike) -> NDArray[np.int64]:
    """Rank the target of each row among the items that may be recommended.

        rank = 1 + |{higher}| + floor(|{equal}| / 2)

    over the other items that are not excluded. Half of the ties stand before the target: a model that
    gives every item the same score then ranks like chance, not like an oracle.

    Args:
        scores: (n, items) scores, higher is better; -inf is a score, NaN is not.
        targets: (n,) column of each row's target.
        excluded: (n, m) columns that may not be recommended (the items of the history), padded with
            -1. Where column 0 is the padding item and no candidate, 0 pads as well: it excludes
            column 0 like any other. The target is never excluded, even if listed.

    Returns:
        (n,) ranks, 1 = top.

    Raises:
        ValueError: if a score is NaN, if shapes do not fit, if a column does not exist.
    """
    values, columns, barred = np.asarray(scores), np.asarray(targets), np.asarray(excluded)
    _check_shapes(values, columns, barred)
    rows = np.arange(len(values))
    candidate = np.ones(values.shape, dtype=bool)
    row, slot = np.nonzero(barred >= 0)
    candidate[row, barred[row, slot]] = False
    candidate[rows, columns] = False
    own = values[rows, columns][:, None]
    higher = np.count_nonzero((values > own) & candidate, axis=1)
    equal = np.count_nonzero((values == own) & candidate, axis=1)
    return np.asarray(1 + higher + equal // 2, dtype=np.int64)


def _listed(ranks: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return (ranks > NOT_SCORED) & (ranks <= k)


def _checked(ranks: ArrayLike) -> NDArray[np.int64]:
    values = np.asarray(ranks)
    if values.size == 0:
        return np.zeros(values.shape, dtype=np.int64)
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"ranks must be whole numbers, not {values.dtype}")
    if values.min() < NOT_SCORED:
        raise ValueError(f"ranks start at 1 (0 = not scored), not at {values.min()}")
    return values.astype(np.int64)


def _check_shapes(scores: NDArray[np.generic], targets: NDArray[np.generic], excluded: NDArray[np.generic]) -> None:
    if scores.ndim != 2 or targets.shape != scores.shape[:1] or excluded.ndim != 2 or len(excluded) != len(scores):
        raise ValueError(
            f"shapes do not fit: scores {scores.shape}, targets {targets.shape}, excluded {excluded.shape}"
        )
    for name, columns, lowest in (("target", targets, 0), ("excluded item", excluded, -1)):
        if columns.size == 0:
            continue
        if not np.issubdtype(columns.dtype, np.integer):
            raise ValueError(f"each {name} must be a column number, not {columns.dtype}")
        if columns.min() < lowest or columns.max() >= scores.shape[1]:
            raise ValueError(f"a {name} lies outside the {scores.shape[1]} scored columns")
    if np.isnan(scores).any():
        bad = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise ValueError(f"row {bad} has NaN scores; a NaN compares with nothing, so it cannot be ranked")
