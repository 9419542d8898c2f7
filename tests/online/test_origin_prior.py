"""Origin prior: the weight of stream regions follows whether they or the backbone predicted recent targets."""

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.online.origin_prior import OriginFeatures, OriginPrior, reweighted

ONE, TWO = [1.0, 0.0], [0.0, 1.0]


def origin_prior(learning_rate: float = 1.0, half_life: float = 500.0) -> OriginPrior:
    return OriginPrior(2, learning_rate, half_life)


def placed(
    *opened: float, setup_shares: list[float] = ONE, since_setup: int = 5, routed: float | None = None
) -> OriginFeatures:
    n = len(opened)
    shares = np.array(opened) if routed is None else np.full(n, routed)
    return OriginFeatures(np.array(opened), shares, np.tile(setup_shares, (n, 1)), np.full(n, since_setup))


def learned(
    seen: OriginPrior, n: int, opened_probability: float, backbone: float, setup_shares: list[float] = ONE
) -> Array:
    """Learn n events with these probabilities of their targets; p' before each of them."""
    windows = placed(*[0.5] * n, setup_shares=setup_shares)
    probabilities = np.full(n, 0.5 * (opened_probability + backbone))
    return seen.score_and_learn(windows, probabilities, np.full(n, backbone), np.ones(n, dtype=np.bool_))[0]


def test_before_any_event_content_decides() -> None:
    windows = placed(0.0, 0.2, 0.9, 1.0)
    np.testing.assert_array_equal(origin_prior().opened(windows), windows.opened)
    np.testing.assert_array_equal(origin_prior().origin_weight(windows), np.ones(4))


def test_without_a_learning_rate_content_decides_for_good() -> None:
    seen = origin_prior(0.0)
    learned(seen, 50, 0.2, 0.01)
    np.testing.assert_array_equal(seen.origin_weight(placed(0.3, 0.8)), np.ones(2))


def test_who_was_right_is_asked_more() -> None:
    seen = origin_prior()
    found = learned(seen, 60, 0.2, 0.01)
    assert found[0] == 0.5
    assert (np.diff(found) > 0.0).all()
    assert found[-1] > 0.9


def test_a_region_that_turns_back_is_followed_within_a_few_events() -> None:
    seen = origin_prior()
    learned(seen, 300, 0.2, 0.01)
    assert learned(seen, 40, 0.01, 0.2)[-1] < 0.5
    assert learned(seen, 40, 0.2, 0.01)[-1] > 0.5


def test_each_region_has_a_correction_of_its_own() -> None:
    seen = origin_prior()
    learned(seen, 60, 0.2, 0.01)
    assert seen.opened(placed(0.5, setup_shares=TWO))[0] == 0.5
    half = seen.opened(placed(0.5, setup_shares=[0.5, 0.5]))[0]
    assert 0.5 < half < seen.opened(placed(0.5))[0]


def test_who_took_nothing_since_set_up_is_left_alone_and_teaches_nothing() -> None:
    seen = origin_prior()
    seen.score_and_learn(
        placed(*[0.5] * 60, since_setup=0), np.full(60, 0.1), np.full(60, 0.01), np.ones(60, dtype=np.bool_)
    )
    assert seen.opened(placed(0.5))[0] == 0.5
    learned(seen, 60, 0.2, 0.01)
    assert seen.opened(placed(0.5, since_setup=0))[0] == 0.5


def test_half_is_forgotten_after_a_half_life() -> None:
    seen = origin_prior(half_life=100.0)
    learned(seen, 20, 0.2, 0.01)
    before = seen.to_arrays()["eras"][0]
    learned(seen, 100, 0.1, 0.1, setup_shares=TWO)
    assert seen.to_arrays()["eras"][0] == pytest.approx(before / 2.0)


def test_the_gradient_is_that_of_the_log_probability() -> None:
    """By differences: log of what the mixture gives the target, when the log odds move a little."""
    opened, ours, backbone, step = 0.3, 0.08, 0.02, 1e-6

    def surprise(log_odds: float) -> float:
        odds = opened / (1.0 - opened) * np.exp(log_odds)
        share = odds / (1.0 + odds)
        return float(np.log((1.0 - share) * backbone + share * ours))

    seen = origin_prior()
    probability = (1.0 - opened) * backbone + opened * ours
    seen.score_and_learn(placed(opened), np.array([probability]), np.array([backbone]), np.array([True]))
    expected = (surprise(step) - surprise(-step)) / (2.0 * step)
    assert seen.to_arrays()["eras"][0] == pytest.approx(expected, rel=1e-6)


def test_an_answer_is_never_more_than_whole() -> None:
    seen = origin_prior()
    learned(seen, 300, 0.9, 0.001)
    windows = placed(0.5, 0.95, 1.0, routed=1.0)
    np.testing.assert_array_equal(seen.origin_weight(windows), np.ones(3))
    partly = placed(0.5)
    assert 1.0 < seen.origin_weight(partly)[0] <= 2.0


def test_what_grows_stays_a_distribution() -> None:
    rng = np.random.default_rng(0)
    backbone, opened = rng.dirichlet(np.ones(30), size=3), rng.dirichlet(np.ones(30), size=3)
    share = np.array([[0.4], [0.4], [0.4]])
    answers = (1.0 - share) * backbone + share * opened
    origin_weight = np.array([[0.5], [1.0], [2.5]])
    found = reweighted(answers, backbone, origin_weight)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[0], 0.8 * backbone[0] + 0.2 * opened[0])
    np.testing.assert_array_equal(found[1], answers[1])
    np.testing.assert_allclose(found[2], opened[2])


def test_one_batch_or_many_and_another_process_are_the_same_to_the_bit() -> None:
    rng = np.random.default_rng(3)
    n = 40
    windows = OriginFeatures(
        rng.random(n), rng.random(n), rng.dirichlet([0.5, 0.5], size=n), rng.integers(0, 4, size=n)
    )
    probabilities, backbone = rng.random(n).astype(np.float32), rng.random(n).astype(np.float32)
    whole, pieces, scored = origin_prior(), origin_prior(), rng.random(n) < 0.9
    opened, origin_weight = whole.score_and_learn(windows, probabilities, backbone, scored)
    found = []
    for start in range(0, n, 7):
        part = slice(start, start + 7)
        found.append(pieces.score_and_learn(windows[part], probabilities[part], backbone[part], scored[part]))
        again = origin_prior()
        again.restore(pieces.to_arrays())
        pieces = again
    np.testing.assert_array_equal(np.concatenate([f[0] for f in found]), opened)
    np.testing.assert_array_equal(np.concatenate([f[1] for f in found]), origin_weight)
    np.testing.assert_array_equal(pieces.to_arrays()["eras"], whole.to_arrays()["eras"])
