"""Ranking metrics: the rank of each target, and Recall, NDCG, MRR and AUC of ranks.

Rank 1 is the top, and 0 stands for *requested but not scored*. An interaction that a strategy did not score
counts as a miss in every metric, so that leaving users out can only lower a figure, never raise it.

Every metric returns one value for each interaction; its mean over interactions is the figure, and its sums over
users are resampled by the bootstrap.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

NOT_SCORED = 0
"""Rank of a target that was requested and not scored."""

LIST_LENGTH = 10
"""Length of the recommended list: k of the reported Recall@k, and the default of `/recommend`."""


def recall_at_k(ranks: ArrayLike, k: int) -> Floats:
    """Recall@k with one relevant item per interaction: 1 if `1 <= rank <= k`, else 0.

    Args:
        ranks: (n,) ranks, 1 = top, 0 = not scored.
        k: length of the recommended list, at least 1.

    Returns:
        (n,) zeros and ones.

    Raises:
        ValueError: `k` is below 1, or a rank is negative or not an integer.
    """
    checked = _checked(ranks)
    return _listed(checked, k).astype(np.float64)


def ndcg_at_k(ranks: ArrayLike, k: int) -> Floats:
    """NDCG@k with one relevant item per interaction: `1 / log2(1 + rank)` if `1 <= rank <= k`, else 0.

    With a single relevant item the ideal gain is 1, so the gain needs no further normalisation
    (Järvelin and Kekäläinen, 2002).

    Args:
        ranks: (n,) ranks, 1 = top, 0 = not scored.
        k: length of the recommended list, at least 1.

    Returns:
        (n,) gains in [0, 1].

    Raises:
        ValueError: `k` is below 1, or a rank is negative or not an integer.
    """
    checked = _checked(ranks)
    listed = _listed(checked, k)
    return np.where(listed, 1.0 / np.log2(1.0 + np.where(listed, checked, 1)), 0.0)


def mrr(ranks: ArrayLike) -> Floats:
    """Reciprocal rank with one relevant item per interaction: `1 / rank`, and 0 where it was not scored.

    Args:
        ranks: (n,) ranks, 1 = top, 0 = not scored.

    Returns:
        (n,) reciprocal ranks in [0, 1]; their mean is the MRR.

    Raises:
        ValueError: a rank is negative or not an integer.
    """
    checked = _checked(ranks)
    return np.where(checked > NOT_SCORED, 1.0 / np.maximum(checked, 1), 0.0)


def mrr_at_k(ranks: ArrayLike, k: int) -> Floats:
    """MRR@k with one relevant item per interaction: `1 / rank` if `1 <= rank <= k`, else 0.

    Args:
        ranks: (n,) ranks, 1 = top, 0 = not scored.
        k: length of the recommended list, at least 1.

    Returns:
        (n,) reciprocal ranks in [0, 1].

    Raises:
        ValueError: `k` is below 1, or a rank is negative or not an integer.
    """
    checked = _checked(ranks)
    return np.where(_listed(checked, k), mrr(checked), 0.0)


def sampled_auc(ranks: ArrayLike, candidates: ArrayLike, negatives: int, seed: int) -> Floats:
    """Share of sampled negatives ranked below the target, the AUC of point-wise evaluations.

    Of c candidates, rank - 1 stand above the target; m negatives drawn from the other c - 1 without replacement
    include a hypergeometric number h of these, so no item needs to be scored again:

        auc = 1 - h / m,   E[auc] = (c - rank) / (c - 1)

    With fewer than m other candidates, all of them are drawn. A target that was not scored has AUC 0.

    Args:
        ranks: (n,) or (seeds, n) ranks, 1 = top, 0 = not scored.
        candidates: (n,) or (seeds, n) items that could have been recommended, the target included.
        negatives: m, at least 1.
        seed: of the draws.

    Returns:
        Shares in [0, 1], in the shape of `ranks`; 1 where the target is the only candidate.

    Raises:
        ValueError: a rank is larger than its number of candidates, or `negatives` is below 1.
    """
    checked, possible = _checked(ranks), np.broadcast_to(np.asarray(candidates, dtype=np.int64), np.shape(ranks))
    if negatives < 1:
        raise ValueError(f"at least 1 negative must be drawn, not {negatives}")
    if (checked > possible).any():
        raise ValueError("a rank is larger than its number of candidates")
    scored = checked > NOT_SCORED
    above = np.where(scored, checked - 1, 0)
    drawn = np.minimum(negatives, possible - 1)
    beaten_by = np.random.default_rng(seed).hypergeometric(above, possible - 1 - above, np.maximum(drawn, 0))
    return np.where(scored, 1.0 - beaten_by / np.maximum(drawn, 1), 0.0)


def rank_of_targets(scores: ArrayLike, targets: ArrayLike, excluded: ArrayLike) -> NDArray[np.int64]:
    """Rank the target of each row among the items that may be recommended.

        rank = 1 + |{higher}| + floor(|{equal}| / 2)

    over the other items that are not excluded. Half of the ties stand before the target: a model
    that gives every item the same score then ranks like chance, not like an oracle.

    Args:
        scores: (n, items) scores, higher is better; -inf is a score, NaN is not.
        targets: (n,) column of each row's target.
        excluded: (n, m) columns that may not be recommended (the items of the history), padded with
            -1. Where column 0 is the padding item and no candidate, 0 pads as well: it excludes
            column 0 like any other. The target is never excluded, even if listed.

    Returns:
        (n,) ranks, 1 = top.

    Raises:
        ValueError: a score is NaN, shapes do not fit, or a column does not exist.
    """
    values, columns, excluded_columns = np.asarray(scores), np.asarray(targets), np.asarray(excluded)
    _check_shapes(values, columns, excluded_columns)
    rows = np.arange(len(values))
    own = values[rows, columns][:, None]
    # Counted over whole rows, then reduced by the excluded items: no further mask of the size of the scores is needed.
    higher = np.count_nonzero(values > own, axis=1)
    equal = np.count_nonzero(values == own, axis=1) - 1
    ordered = np.sort(excluded_columns, axis=1)
    counted = (np.diff(ordered, axis=1, prepend=-1) > 0) & (ordered != columns[:, None])
    left_out = values[rows[:, None], ordered]
    higher -= np.count_nonzero((left_out > own) & counted, axis=1)
    equal -= np.count_nonzero((left_out == own) & counted, axis=1)
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
        raise ValueError(f"ranks must be integers, not {values.dtype}")
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
    # The minimum is NaN if any score is.
    if scores.size and np.isnan(scores.min()):
        bad = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise ValueError(f"row {bad} has NaN scores; NaN scores cannot be ranked")
