import numpy as np
import pytest

from pipeline.evaluation.bootstrap import paired_bootstrap, paired_bootstraps, resampled_means


def test_the_difference_is_that_of_the_data() -> None:
    interval = paired_bootstrap([1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 2])
    assert interval.difference == pytest.approx(0.5)
    assert interval.low <= interval.difference <= interval.high


def test_a_constant_gap_leaves_nothing_to_chance() -> None:
    a = np.random.default_rng(0).random(200)
    interval = paired_bootstrap(a, a - 0.25, np.arange(200) % 20)
    assert interval == pytest.approx((0.25, 0.25, 0.25))


def test_the_same_seed_draws_the_same_users() -> None:
    rng = np.random.default_rng(1)
    a, b, users = rng.random(300), rng.random(300), rng.integers(0, 30, 300)
    assert paired_bootstrap(a, b, users, seed=4) == paired_bootstrap(a, b, users, seed=4)
    assert paired_bootstrap(a, b, users, seed=4) != paired_bootstrap(a, b, users, seed=5)


def test_seeds_are_averaged_interaction_by_interaction() -> None:
    rng = np.random.default_rng(2)
    a, b, users = rng.random((3, 100)), rng.random((3, 100)), np.arange(100) % 10
    assert paired_bootstrap(a, b, users) == paired_bootstrap(a.mean(axis=0), b.mean(axis=0), users)


def test_several_comparisons_are_those_made_one_by_one() -> None:
    rng = np.random.default_rng(3)
    a, b, c, users = rng.random(100), rng.random(100), rng.random(100), np.arange(100) % 10
    together = paired_bootstraps(a, [b, c], users)
    for interval, other in zip(together, (b, c), strict=True):
        assert interval == pytest.approx(paired_bootstrap(a, other, users))


def test_users_are_resampled_and_not_interactions() -> None:
    users = np.repeat(np.arange(20), 50)
    opinion = np.repeat(np.random.default_rng(4).random(20), 50)
    of_users = paired_bootstrap(opinion, np.zeros(1000), users)
    of_rows = paired_bootstrap(opinion, np.zeros(1000), np.arange(1000))
    assert of_users.high - of_users.low > 4 * (of_rows.high - of_rows.low)


def test_the_interval_covers_what_it_claims() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        users = rng.integers(0, 80, 400)
        gap = rng.normal(0, 0.3, 80)[users] + rng.normal(0, 0.3, 400)
        interval = paired_bootstrap(gap, np.zeros(400), users, resamples=300, seed=trial)
        covered += interval.low <= 0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_memory_is_bounded_without_changing_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.evaluation.bootstrap._CELLS_AT_ONCE", 25)
    means = resampled_means(np.ones((10, 2)), np.arange(10), resamples=7)
    assert means.shape == (7, 2)
    assert np.all(means == 1)


def test_nothing_to_resample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        paired_bootstrap([], [], [])
    with pytest.raises(ValueError, match="as many users"):
        paired_bootstrap([1, 0], [0, 0], [1])
