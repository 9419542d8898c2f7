import numpy as np
import pytest
from numpy.typing import ArrayLike

from pipeline.evaluation.bootstrap import (
    Comparison,
    paired_comparisons,
    resampled_means,
)


def compare(a: ArrayLike, b: ArrayLike, users: ArrayLike, **draws: int) -> Comparison:
    return paired_comparisons(a, [b], users, **draws)[0]


def test_the_difference_is_that_of_the_data() -> None:
    interval = compare([1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 2])
    assert interval.difference == pytest.approx(0.5)
    assert interval.low <= interval.difference <= interval.high


def test_a_constant_gap_leaves_nothing_to_chance() -> None:
    a = np.random.default_rng(0).random(200)
    interval = compare(a, a - 0.25, np.arange(200) % 20)
    assert interval[:3] == pytest.approx((0.25, 0.25, 0.25))


def test_the_same_seed_draws_the_same_users() -> None:
    rng = np.random.default_rng(1)
    a, b, users = rng.random(300), rng.random(300), rng.integers(0, 30, 300)
    assert compare(a, b, users, seed=4) == compare(a, b, users, seed=4)
    assert compare(a, b, users, seed=4) != compare(a, b, users, seed=5)


def test_seeds_are_averaged_interaction_by_interaction() -> None:
    rng = np.random.default_rng(2)
    a, b, users = rng.random((3, 100)), rng.random((3, 100)), np.arange(100) % 10
    assert compare(a, b, users) == compare(a.mean(axis=0), b.mean(axis=0), users)


def test_several_comparisons_are_those_made_one_by_one() -> None:
    rng = np.random.default_rng(3)
    a, b, c, users = rng.random(100), rng.random(100), rng.random(100), np.arange(100) % 10
    together = paired_comparisons(a, [b, c], users)
    for comparison, other in zip(together, (b, c), strict=True):
        assert comparison[:3] == pytest.approx(compare(a, other, users)[:3])


def test_users_are_resampled_and_not_interactions() -> None:
    users = np.repeat(np.arange(20), 50)
    opinion = np.repeat(np.random.default_rng(4).random(20), 50)
    of_users = compare(opinion, np.zeros(1000), users)
    of_rows = compare(opinion, np.zeros(1000), np.arange(1000))
    assert of_users.high - of_users.low > 4 * (of_rows.high - of_rows.low)


def test_the_interval_covers_what_it_claims() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        users = rng.integers(0, 80, 400)
        gap = rng.normal(0, 0.3, 80)[users] + rng.normal(0, 0.3, 400)
        interval = compare(gap, np.zeros(400), users, resamples=300, seed=trial)
        covered += interval.low <= 0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_memory_is_bounded_without_changing_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.evaluation.bootstrap._CELLS_AT_ONCE", 25)
    means = resampled_means(np.ones((10, 2)), np.arange(10), resamples=7)
    assert means.shape == (7, 2)
    assert np.all(means == 1)


def test_nothing_to_resample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        compare([], [], [])
    with pytest.raises(ValueError, match="as many users"):
        compare([1, 0], [0, 0], [1])


def family(trial: int, others: int) -> list[Comparison]:
    """One strategy and several as good as it, over 60 users."""
    rng = np.random.default_rng(trial)
    users = rng.integers(0, 60, 300)
    a, *rest = (rng.normal(0, 0.3, 60)[users] + rng.normal(0, 0.3, 300) for _ in range(others + 1))
    return paired_comparisons(a, rest, users, resamples=300, seed=trial)


def test_a_family_is_covered_together_where_single_intervals_are_not() -> None:
    families = [family(trial, 12) for trial in range(100)]
    single = np.mean([all(row.low <= 0 <= row.high for row in rows) for rows in families])
    joint = np.mean([all(row.simultaneous_low <= 0 <= row.simultaneous_high for row in rows) for rows in families])
    assert single < 0.85
    assert joint >= 0.88


def test_more_company_makes_joint_intervals_wider_and_leaves_single_ones() -> None:
    rng = np.random.default_rng(0)
    users = rng.integers(0, 30, 300)
    a, *others = rng.random((9, 300))
    alone = paired_comparisons(a, others[:1], users)[0]
    among = paired_comparisons(a, others, users)[0]
    assert among[:3] == pytest.approx(alone[:3])
    assert among.simultaneous_low < alone.simultaneous_low < alone.difference < among.simultaneous_high


def test_equal_company_adds_nothing() -> None:
    rng = np.random.default_rng(1)
    a, b, users = rng.random(100), rng.random(100), np.arange(100) % 10
    assert paired_comparisons(a, [b, b, a], users)[0] == pytest.approx(paired_comparisons(a, [b], users)[0])
    assert paired_comparisons(a, [a], users)[0] == (0.0, 0.0, 0.0, 0.0, 0.0)
