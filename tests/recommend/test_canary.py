"""Who is on trial, and what clicks say: the same users everywhere, and an error that keeps its bound."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import betabinom, hypergeom

from pipeline.events.buckets import BUCKETS
from pipeline.recommend.ab_test import Rate, Trial, Verdict, design_effect, difference, evidence
from pipeline.recommend.canary import Canary, split
from tests.models.lora.test_batched_forward import NAMES, a_bank, routes


def canary(region_id: int = 5, adapter: str = "r0005_v0002", share: float = 0.3) -> Canary:
    return Canary(region_id, adapter, f"r{region_id:04}_v0009", 0.25, share, 1)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_so_large_a_share_is_reached(share: float) -> None:
    reached = sum(canary(share=share).reaches(f"user {i}") for i in range(10_000))
    assert abs(reached - 10_000 * share) < 5 * np.sqrt(10_000 * share * (1 - share))


def test_each_version_has_other_users() -> None:
    one, other = canary(), canary(adapter="r0005_v0003")
    both = sum(one.reaches(str(i)) and other.reaches(str(i)) for i in range(10_000))
    assert abs(both - 900) < 150


def test_more_users_are_those_that_were_and_others() -> None:
    users = [str(i) for i in range(1000)]
    few, many = ({user for user in users if canary(share=share).reaches(user)} for share in (0.1, 0.2))
    assert few < many


def test_without_trials_the_shares_are_those_of_the_regions() -> None:
    bank, route = a_bank(), routes(40)
    shares, adapters = split(route, bank, [], np.zeros((40, 0), dtype=np.bool_))
    assert np.array_equal(shares, bank.shares(route))
    assert adapters == bank.adapters


def test_whom_a_trial_does_not_reach_is_answered_by_the_incumbent_with_its_trust() -> None:
    bank, route = a_bank(), routes(40)
    tried = [canary(), canary(region_id=7)]
    kept = np.random.default_rng(0).random((40, 2)) < 0.5
    shares, adapters = split(route, bank, tried, kept)
    assert adapters == (None, *NAMES, "r0005_v0009", "r0007_v0009")
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    for column, (place, kept_back) in enumerate(zip((3, 5), kept.T, strict=True)):
        np.testing.assert_allclose(shares[:, 8 + column], np.where(kept_back, 0.25 * route[:, place], 0.0))
        np.testing.assert_allclose(shares[~kept_back, place], bank.shares(route)[~kept_back, place])
        assert (shares[kept_back, place] == 0.0).all()
    others = [c for c in range(1, 8) if c not in (3, 5)]
    assert np.array_equal(shares[:, others], bank.shares(route)[:, others])


@pytest.mark.parametrize(("one", "other"), [((3, 1), (5, 2)), ((8, 7), (6, 0)), ((0, 0), (9, 4))])
def test_the_evidence_is_two_rates_against_one(one: tuple[int, int], other: tuple[int, int]) -> None:
    def prior(p: float) -> float:
        return float(1.0 / (np.pi * np.sqrt(p * (1.0 - p))))

    def probability(p: float, rate: tuple[int, int]) -> float:
        return float(p ** rate[1] * (1.0 - p) ** (rate[0] - rate[1]))

    two = dblquad(
        lambda q, p: prior(p) * prior(q) * probability(p, one) * probability(q, other), 0, 1, 0, 1, epsabs=1e-9
    )[0]
    alike = dblquad(lambda _, p: prior(p) * probability(p, one) * probability(p, other), 0, 1, 0, 1, epsabs=1e-9)[0]
    assert evidence(Rate(*one), Rate(*other)) == pytest.approx(np.log(two / alike), rel=1e-3, abs=1e-3)
    assert evidence(Rate(*one), Rate(*other)) == pytest.approx(evidence(Rate(*other), Rate(*one)))


@pytest.mark.parametrize(("shown", "other"), [(1, 1), (3, 17), (20, 20)])
def test_where_there_is_one_rate_the_mean_bayes_factor_is_one(shown: int, other: int) -> None:
    """So it is a martingale, over rates drawn from the prior: whatever the shares, evidence is not expected to grow."""
    mean = 0.0
    for total in range(shown + other + 1):
        probability = betabinom.pmf(total, shown + other, 0.5, 0.5)
        for clicked in range(max(0, total - other), min(shown, total) + 1):
            split_so = hypergeom.pmf(clicked, shown + other, total, shown)
            mean += probability * split_so * np.exp(evidence(Rate(shown, clicked), Rate(other, total - clicked)))
    assert mean == pytest.approx(1.0)


def test_answers_to_different_users_have_no_design_effect() -> None:
    rng = np.random.default_rng(0)
    counts = np.stack([np.ones(BUCKETS, dtype=np.int64), rng.binomial(1, 0.2, size=BUCKETS)], axis=1)
    assert design_effect(counts) == pytest.approx(1.0)
    assert design_effect(np.zeros((BUCKETS, 2), dtype=np.int64)) == 1.0


def test_users_who_always_do_the_same_count_once() -> None:
    once = np.zeros((BUCKETS, 2), dtype=np.int64)
    once[:400] = np.random.default_rng(0).binomial(1, 0.3, size=400)[:, None] * [0, 1] + [1, 0]
    reached = canary().reached
    again = Trial.of(7 * once, reached)
    assert design_effect(7 * once) == pytest.approx(7.0)
    assert again.evidence == pytest.approx(Trial.of(once, reached).evidence)
    assert again.tried.shown == 7 * Trial.of(once, reached).tried.shown


ALIKE = {"everybody asks once": (10_000, 0.0), "a few ask most": (300, 1.0), "one asks half of the time": (300, 3.0)}
"""Users, and how unequal they are: the n-th asks 1 / n ** inequality as often as the first."""


@pytest.mark.parametrize("users", ALIKE)
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_versions_that_are_clicked_alike_are_told_apart_no_more_often_than_allowed(users: str, share: float) -> None:
    rng = np.random.default_rng(round(10 * share))
    wrong = sum(trial(rng, 1.0, share, *ALIKE[users]) is not Verdict.ALIKE for _ in range(60))
    assert wrong <= 0.05 * 60 + 2 * np.sqrt(60 * 0.05 * 0.95)


def test_a_version_that_is_far_better_or_worse_is_found() -> None:
    rng = np.random.default_rng(0)
    assert [trial(rng, 2.0, 0.3) for _ in range(20)].count(Verdict.BETTER) >= 19
    assert [trial(rng, 0.3, 0.3) for _ in range(20)].count(Verdict.WORSE) >= 19


def test_an_interval_holds_the_true_difference_at_every_look_and_narrows() -> None:
    """Over 3,000 answers, looked at after every fifty; users come back, and some always click."""
    rng, reached, outside, last = np.random.default_rng(0), canary(share=0.4).reached, 0, []
    for number in range(120):
        change, users = (0.0, 0.06)[number % 2], 900
        buckets = rng.integers(BUCKETS, size=users)
        likes = rng.beta(1.0, 6.0, size=users) * 0.8 + np.where(reached[buckets], change, 0.0)
        truth = likes[reached[buckets]].mean() - likes[~reached[buckets]].mean()
        asks = rng.integers(users, size=(60, 50))
        counts, found = np.zeros((BUCKETS, 2), dtype=np.int64), []
        for asked in asks:
            clicked = rng.random(50) < likes[asked]
            np.add.at(counts, buckets[asked], np.stack([np.ones(50, dtype=np.int64), clicked], axis=1))
            found.append(difference(counts, reached, 0.05))
        assert found[0] is None and found[-1] is not None
        outside += any(one is not None and not one.low <= truth <= one.high for one in found)
        last.append(found[-1])
    assert outside <= 0.05 * 120
    assert np.mean([one.low > 0.0 for one in last[1::2]]) > 0.4


def test_nobody_clicks_and_too_few_were_asked() -> None:
    counts, reached = np.zeros((BUCKETS, 2), dtype=np.int64), canary(share=0.5).reached
    assert difference(counts, reached, 0.05) is None
    counts[:, 0] = 1
    found = difference(counts, reached, 0.05)
    assert found is not None and found.low < 0.0 < found.high and abs(found.estimate) < 1e-9


def trial(
    rng: np.random.Generator, ratio: float, share: float, users: int = 10_000, inequality: float = 0.0
) -> Verdict:
    """A trial of 3,000 answers, looked at after every fifty; each user clicks as often as suits that user."""
    tried = canary(share=share)
    weights = np.arange(1, users + 1.0) ** -inequality
    buckets = rng.integers(BUCKETS, size=users)
    likes = np.minimum(rng.beta(0.5, 2.0, size=users) * np.where(tried.reached[buckets], ratio, 1.0), 1.0)
    asks = rng.choice(users, size=(60, 50), p=weights / weights.sum())
    clicks = rng.random((60, 50)) < likes[asks]
    counts = np.zeros((BUCKETS, 2), dtype=np.int64)
    for asked, clicked in zip(asks, clicks, strict=True):
        np.add.at(counts, buckets[asked], np.stack([np.ones(50, dtype=np.int64), clicked], axis=1))
        found = Trial.of(counts, tried.reached).verdict(0.05, 3_000)
        if found is not None:
            return found
    raise AssertionError("it should have ended by its number")
