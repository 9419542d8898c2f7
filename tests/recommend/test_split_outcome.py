"""Outcome of a split: its intervals hold for clicks of users, who differ."""

import numpy as np
import pytest

from pipeline.events.buckets import BUCKETS
from pipeline.events.split import Split
from pipeline.recommend.ab_test import Counts
from pipeline.recommend.split_outcome import Arm, SplitOutcome

SPLIT = Split(number=1, salt=1, generation=2, beside=1, share=0.5, since=0.0, by="ann")


def counts_of(rng: np.random.Generator, gain: float, users: int = 2_000, answers: int = 10) -> Counts:
    """Clicks of users with rates of their own, of which those of the share click `gain` more."""
    buckets = rng.integers(BUCKETS, size=users)
    rates = rng.beta(2, 18, size=users) + gain * SPLIT.reached[buckets]
    counts = np.zeros((BUCKETS, 2), dtype=np.int64)
    np.add.at(counts, buckets, np.stack([np.full(users, answers), rng.binomial(answers, rates)], axis=1))
    return counts


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, inside, differs = np.random.default_rng(0), 0, 0
    for _ in range(400):
        found = SplitOutcome.of(SPLIT, counts_of(rng, gain=0.0))
        assert found.others.low is not None and found.others.high is not None and found.difference is not None
        inside += found.others.low <= 0.1 <= found.others.high
        differs += not found.difference.low <= 0.0 <= found.difference.high
    assert 0.91 <= inside / 400 <= 0.985
    # It may be looked at at any time, so that one look errs less often than stated.
    assert differs / 400 <= 0.05


def test_a_difference_is_found() -> None:
    found = SplitOutcome.of(SPLIT, counts_of(np.random.default_rng(1), gain=0.05))
    assert found.difference is not None and 0.0 < found.difference.low < 0.05 < found.difference.high
    assert (found.tried.generation, found.others.generation) == (2, 1)


def test_clicks_of_the_same_users_widen_an_interval() -> None:
    alone = np.zeros((BUCKETS, 2), dtype=np.int64)
    alone[:100] = [10, 1]
    together = alone.copy()
    together[:100, 1] = np.where(np.arange(100) < 10, 10, 0)
    one, other = Arm.of(1, alone), Arm.of(1, together)
    assert (one.shown, one.clicked) == (other.shown, other.clicked) == (1_000, 100)
    assert one.low is not None and one.high is not None and other.low is not None and other.high is not None
    assert other.high - other.low > 2 * (one.high - one.low)


def test_wilson_by_hand() -> None:
    counts = np.zeros((BUCKETS, 2), dtype=np.int64)
    counts[:50] = [1, 0]
    counts[:5] = [1, 1]
    found = Arm.of(3, counts)
    assert (found.low, found.high) == (pytest.approx(0.0435, abs=1e-4), pytest.approx(0.2136, abs=1e-4))
    assert str(found) == "generation 3: 5 of 50 shown answers clicked, 0.1000 (95% interval 0.0435 to 0.2136)"


def test_few_answers_give_no_difference_and_none_no_interval() -> None:
    counts = np.zeros((BUCKETS, 2), dtype=np.int64)
    counts[0] = [20, 3]
    found = SplitOutcome.of(SPLIT, counts)
    assert found.difference is None and found.others.low is None
    assert str(found).endswith("generation 1: no answer was shown; too few for a difference")


@pytest.mark.parametrize("users", [2, 2_000])
def test_it_is_the_same_after_a_record(users: int) -> None:
    found = SplitOutcome.of(SPLIT, counts_of(np.random.default_rng(2), 0.0, users))
    assert SplitOutcome.from_record(found.to_record()) == found
