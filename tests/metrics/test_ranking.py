import numpy as np
import pytest

from pipeline.metrics.ranking import mrr, mrr_at_k, ndcg_at_k, rank_of_targets, recall_at_k, sampled_auc


def rank(scores: list[float], target: int, excluded: list[int] | None = None) -> int:
    return int(rank_of_targets([scores], [target], [excluded or [-1]])[0])


def test_metrics_by_hand() -> None:
    ranks = np.array([1, 3, 10, 11, 0])
    assert recall_at_k(ranks, 10).tolist() == [1, 1, 1, 0, 0]
    assert ndcg_at_k(ranks, 10) == pytest.approx([1, 0.5, 1 / np.log2(11), 0, 0])
    assert mrr(ranks) == pytest.approx([1, 1 / 3, 0.1, 1 / 11, 0])


def test_metrics_of_nothing_are_nothing() -> None:
    assert len(recall_at_k([], 10)) == len(ndcg_at_k([], 10)) == len(mrr([])) == 0


@pytest.mark.parametrize("ranks", [[-1], [1.5]])
def test_metrics_refuse_what_is_no_rank(ranks: list[float]) -> None:
    for metric in (lambda r: recall_at_k(r, 10), lambda r: ndcg_at_k(r, 10), mrr):
        with pytest.raises(ValueError, match="ranks"):
            metric(ranks)


def test_metrics_refuse_an_empty_list() -> None:
    with pytest.raises(ValueError, match="k must be"):
        recall_at_k([1], 0)


def test_rank_counts_higher_items_and_half_of_the_ties() -> None:
    assert rank([0.1, 0.9, 0.5, 0.7], 1) == 1
    assert rank([0.1, 0.9, 0.5, 0.7], 0) == 4
    assert rank([0.5, 0.5, 0.5, 0.9], 0) == 1 + 1 + 1
    assert rank([0.5, 0.5, 0.9, 0.1], 0) == 1 + 1 + 0


def test_a_model_without_opinion_ranks_like_chance() -> None:
    assert rank([0.0] * 101, 17) == 51


def test_excluded_items_do_not_count_and_the_target_is_never_excluded() -> None:
    scores = [0.9, 0.8, 0.7, 0.6]
    assert rank(scores, 3, [0, 1, -1]) == 2
    assert rank(scores, 3, [0, 0, 0]) == 3
    assert rank(scores, 3, [3, 2, -1]) == 3


def test_zero_pads_where_column_zero_is_padding() -> None:
    assert rank([99.0, 0.9, 0.5], 1, [2, 0, 0]) == 1


def test_minus_infinity_is_a_score_and_nan_is_not() -> None:
    assert rank([-np.inf, -np.inf, 1.0], 0) == 2
    with pytest.raises(ValueError, match="row 0 has NaN"):
        rank([np.nan, 1.0], 1)


@pytest.mark.parametrize(("targets", "excluded"), [([4], [[-1]]), ([-1], [[-1]]), ([0], [[4]]), ([0, 1], [[-1]])])
def test_columns_that_do_not_exist_are_refused(targets: list[int], excluded: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"outside|shapes"):
        rank_of_targets(np.zeros((1, 4)), targets, excluded)


def test_agrees_with_counting_one_by_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (50, 30)).astype(float)
    targets, excluded = rng.integers(0, 30, 50), rng.integers(-1, 30, (50, 8))
    expected = []
    for row, target, barred in zip(scores, targets, excluded, strict=True):
        others = [score for item, score in enumerate(row) if item != target and item not in barred]
        equal = sum(score == row[target] for score in others)
        expected.append(1 + sum(score > row[target] for score in others) + equal // 2)
    assert rank_of_targets(scores, targets, excluded).tolist() == expected


def test_mrr_of_a_list_is_cut_where_the_list_ends() -> None:
    assert mrr_at_k([1, 4, 5, 6, 0], 5) == pytest.approx([1, 1 / 4, 1 / 5, 0, 0])
    assert mrr_at_k([1, 4, 5, 6, 0], 20) == pytest.approx(mrr([1, 4, 5, 6, 0]))


def test_sampled_auc_is_that_of_all_negatives_on_average() -> None:
    ranks, candidates = np.tile([1, 50, 101, 300], 4_000), 301
    found = sampled_auc(ranks, candidates, 99, seed=0).reshape(-1, 4)
    assert found.mean(axis=0) == pytest.approx((candidates - ranks[:4]) / (candidates - 1), abs=2e-3)
    assert (found[:, 0] == 1.0).all()


def test_sampled_auc_agrees_with_drawing_and_scoring_negatives() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(200)
    target = 30
    others = np.delete(scores, target)
    drawn = [np.mean(rng.choice(others, 20, replace=False) < scores[target]) for _ in range(4_000)]
    found = sampled_auc(np.full(4_000, rank(scores.tolist(), target)), 200, 20, seed=2)
    assert found.mean() == pytest.approx(np.mean(drawn), abs=5e-3)
    assert found.std() == pytest.approx(np.std(drawn), rel=0.1)


def test_with_few_candidates_all_are_negatives() -> None:
    assert sampled_auc([1, 3, 5], 5, 99, seed=0).tolist() == [1.0, 0.5, 0.0]
    assert sampled_auc([1, 0], 1, 99, seed=0).tolist() == [1.0, 0.0]


def test_sampled_auc_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="larger than its number of candidates"):
        sampled_auc([6], 5, 99, seed=0)
    with pytest.raises(ValueError, match="at least 1 negative"):
        sampled_auc([1], 5, 0, seed=0)


def rank_by_masks(scores: np.ndarray, targets: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """The convention of ranks spelled out: a mask of candidates, then what stands higher and level."""
    rows = np.arange(len(scores))
    candidate = np.ones(scores.shape, dtype=bool)
    row, slot = np.nonzero(excluded >= 0)
    candidate[row, excluded[row, slot]] = False
    candidate[rows, targets] = False
    own = scores[rows, targets][:, None]
    return 1 + ((scores > own) & candidate).sum(axis=1) + ((scores == own) & candidate).sum(axis=1) // 2


@pytest.mark.parametrize("seed", range(30))
def test_counting_without_masks_is_counting_with_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, slots = int(rng.integers(2, 40)), int(rng.integers(1, 12))
    scores = rng.integers(0, int(rng.integers(1, 9)), (64, items)).astype(rng.choice([np.float32, np.float64]))
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[rng.random(scores.shape) < 0.05] = np.inf
    # Few columns and many slots: items stand twice, targets stand among them, and rows are padded.
    targets, excluded = rng.integers(0, items, 64), rng.integers(-1, items, (64, slots))
    expected = rank_by_masks(scores, targets, excluded)
    assert rank_of_targets(scores, targets, excluded).tolist() == expected.tolist()
