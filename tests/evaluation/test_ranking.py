import numpy as np
import pytest

from pipeline.evaluation.ranking import mrr, ndcg_at_k, rank_of_targets, recall_at_k


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
