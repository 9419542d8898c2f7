"""Decayed counts."""

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.online.decayed_popularity import LARGEST_WEIGHT, DecayedPopularity

ITEMS = 30
ROWS = np.arange(ITEMS + 1)
USUAL = np.array([0, *range(1, ITEMS + 1)], dtype=np.int64)
ONE, TWO = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def trend(half_lives: tuple[float, ...] = (50.0, 500.0), shrinkage: float = 20.0) -> DecayedPopularity:
    return DecayedPopularity(USUAL, 2, half_lives, shrinkage)


def fed(seen: DecayedPopularity, events: list[tuple[Array, int]]) -> DecayedPopularity:
    for setup_shares, row in events:
        seen.add(setup_shares, row)
    return seen


def probabilities_by(seen: DecayedPopularity, setup_shares: Array) -> Array:
    """(half_lives, items + 1) probabilities by each half-life."""
    return np.stack([seen.regional_by(i, setup_shares) for i in range(len(seen.to_arrays()["weight"]))])


def random_events(n: int, seed: int = 0) -> list[tuple[Array, int]]:
    rng = np.random.default_rng(seed)
    return [(rng.dirichlet([0.5, 0.5]), int(rng.integers(1, ITEMS + 1))) for _ in range(n)]


def test_probabilities_are_distributions_without_padding() -> None:
    seen = fed(trend(), random_events(200))
    for setup_shares in (ONE, TWO, np.array([0.3, 0.7])):
        probabilities = probabilities_by(seen, setup_shares)
        assert probabilities.shape == (2, ITEMS + 1)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
        assert (probabilities[:, 0] == 0).all()
        assert (probabilities[:, 1:] > 0).all()


def test_before_any_event_the_usual_is_expected() -> None:
    np.testing.assert_allclose(probabilities_by(trend(), ONE)[0, 1:], (USUAL[1:] + 1 / 31) / (USUAL[1:] + 1 / 31).sum())


def test_an_event_counts_half_after_a_half_life() -> None:
    """With hardly any shrinkage, an old item against all that came since is 2^-1 of what it was."""
    seen = fed(trend((50.0,), 1e-9), [(ONE, 7)] + [(ONE, 9)] * 50)
    since = sum(2.0 ** (-i / 50) for i in range(50))
    assert probabilities_by(seen, ONE)[0, 7] == pytest.approx(0.5 / (0.5 + since))


def test_each_region_has_counts_of_its_own_and_all_share_some() -> None:
    seen = fed(trend(), [(ONE, 5), (TWO, 6)] * 200)
    one, unseen = probabilities_by(seen, ONE)[0], probabilities_by(trend(), ONE)[0]
    assert one[5] > 5 * one[6], "each region has counts of its own"
    assert one[6] > unseen[6], "but what others take is likelier too"


def test_long_streams_do_not_overflow() -> None:
    seen = trend((0.5,), 1.0)
    events = [(ONE, 1 + i % 3) for i in range(1_000)]
    assert np.log2(LARGEST_WEIGHT) < 2 * len(events), "the weights are scaled back meanwhile"
    np.testing.assert_allclose(probabilities_by(seen, ONE).sum(), 1.0)
    fed(seen, events)
    # The newest of three items in turn, at half a half-life each, has 1/4^k of what came k events before.
    shares = probabilities_by(seen, ONE)[0, 1:4]
    assert np.isfinite(shares).all()
    assert shares.argmax() == (len(events) - 1) % 3


def test_counts_restore_to_the_bit() -> None:
    seen = fed(trend(), random_events(120))
    again = trend()
    again.restore(seen.to_arrays(), ROWS)
    for part in (seen, again):
        fed(part, random_events(80, seed=1))
    np.testing.assert_array_equal(probabilities_by(seen, ONE), probabilities_by(again, ONE))


def test_what_was_given_out_does_not_change_with_later_events() -> None:
    seen = fed(trend(), random_events(20))
    kept = seen.to_arrays()
    before = {name: array.copy() for name, array in kept.items()}
    fed(seen, random_events(20, seed=1))
    assert all(np.array_equal(kept[name], before[name]) for name in before)
