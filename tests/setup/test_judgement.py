"""Judgement of a new set-up against the present one."""

import numpy as np
import pytest

from pipeline.setup.judgement import judge


def test_the_difference_is_that_of_recall_and_an_unscored_target_is_a_miss() -> None:
    found = judge([1, 11, 0, 3], [1, 2, 4, 30], ["a", "a", "b", "c"])
    assert (found.before, found.after) == (0.5, 0.75)
    assert (found.events, found.users) == (4, 3)


def test_only_an_interval_above_the_least_gain_passes() -> None:
    users = np.repeat(np.arange(200), 5)
    draws = np.random.default_rng(0).random(1000)
    before, after = np.where(draws < 0.3, 1, 99), np.where(draws < 0.4, 1, 99)
    found = judge(before, after, users)
    assert found.low is not None and found.high is not None
    assert 0 < found.low < found.after - found.before < found.high
    assert found.passed
    assert not judge(after, before, users).passed
    assert not judge(before, before, users).passed
    assert judge(before, before, users, least_gain=-0.01).passed
    assert not judge(before, after, users, least_gain=0.2).passed


def test_events_of_one_user_widen_the_interval_that_independent_ones_would_have() -> None:
    draws = np.repeat(np.random.default_rng(1).random(100), 10)
    before, after = np.where(draws < 0.3, 1, 99), np.where(draws < 0.4, 1, 99)
    of_few = judge(before, after, np.repeat(np.arange(100), 10))
    of_many = judge(before, after, np.arange(1000))
    assert of_few.low is not None and of_many.low is not None
    assert of_few.low < of_many.low


def test_the_interval_covers_no_difference_nineteen_times_of_twenty() -> None:
    rng, covered = np.random.default_rng(2), 0
    users = np.repeat(np.arange(150), 4)
    for _ in range(400):
        habit = np.repeat(rng.random(150), 4)
        before, after = (np.where(rng.random(600) < 0.2 + 0.3 * habit, 1, 99) for _ in range(2))
        found = judge(before, after, users)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.0 <= found.high
    assert 368 <= covered <= 392


@pytest.mark.parametrize("events", [0, 3])
def test_fewer_than_two_users_give_no_interval_and_no_pass(events: int) -> None:
    found = judge([99] * events, [1] * events, ["a"] * events)
    assert found.low is None and not found.passed


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        judge([1, 2], [1], ["a", "b"])


def test_a_comparison_of_no_events_says_so() -> None:
    assert str(judge([], [], [])) == "no event yet that both have scored"
