"""Decayed counts, and their weights beside a model."""

import numpy as np
import pytest
import torch

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.events.windows import Ids
from pipeline.metrics.ranking import rank_of_targets
from pipeline.online.decayed_popularity import LARGEST_WEIGHT, DecayedPopularity, counted
from pipeline.online.ensemble import OnlineEnsemble, WindowFeatures, window_features
from pipeline.online.interpolation import GRID, LIST_LENGTH
from pipeline.online.item_transitions import ItemTransitions
from pipeline.online.mixture import ExpertMixture

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
    each = np.eye(len(seen.overall()))
    return seen.blended(setup_shares[None], each[None])[0]


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


def assert_blended_alike(seen: DecayedPopularity, setup_shares: Array, weights: Array) -> None:
    """In single precision a batch gets the same counts as its windows one by one in double precision."""
    model = np.random.default_rng(5).random((len(setup_shares), ITEMS + 1), dtype=np.float32)
    found = torch.from_numpy(model.copy())
    seen.blend_in(found, setup_shares, weights)
    np.testing.assert_allclose(found.numpy(), model + seen.blended(setup_shares, weights[:, None])[:, 0], rtol=1e-6)


def test_a_batch_is_blended_in_as_its_windows_are() -> None:
    rng = np.random.default_rng(2)
    seen = DecayedPopularity(USUAL, 12, (50.0, 500.0, 5000.0), 20.0)
    setup_shares = rng.dirichlet([0.3] * 12, size=40)
    setup_shares[3] = 0.0
    weights = rng.random((40, 3))
    assert_blended_alike(seen, setup_shares, weights)
    for _ in range(3):
        for shares in setup_shares:
            seen.add(shares, int(rng.integers(1, ITEMS + 1)))
        assert_blended_alike(seen, setup_shares, weights)
    again = DecayedPopularity(USUAL, 12, (50.0, 500.0, 5000.0), 20.0)
    assert_blended_alike(again, setup_shares, weights)
    again.restore(seen.to_arrays(), ROWS)
    assert_blended_alike(again, setup_shares, weights)


def test_single_precision_bears_streams_that_scale_the_weights_back() -> None:
    seen = trend((0.5, 40.0), 1.0)
    setup_shares = np.array([[1.0, 0.0], [0.4, 0.6]])
    weights = np.array([[0.5, 0.2], [0.1, 0.3]])
    for shares, row in random_events(600):
        seen.add(shares, row)
        assert_blended_alike(seen, setup_shares, weights)


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


def test_lift_tells_trending_windows_from_usual_ones() -> None:
    seen = fed(trend(), [(ONE, 2)] * 100)
    rising, usual, nothing = seen.lifts(np.array([[0, 2, 2], [0, 30, 29], [0, 0, 0]]))
    assert rising > 0 > usual >= -1
    assert nothing == 0


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


def learned(
    mixture: ExpertMixture, since: float, lift: float, max_probability: float, probabilities: list[float]
) -> None:
    mixture.learn(np.array([since]), np.array([lift]), np.array([max_probability]), np.array([probabilities]))


def weights_of(mixture: ExpertMixture, since: float, lift: float, max_probability: float) -> Array:
    return mixture.weights(np.array([since]), np.array([lift]), np.array([max_probability]))[0]


def test_the_mixture_learns_which_expert_gives_targets_most() -> None:
    """A trend that is ten times likelier than the model where anything was taken since, and a tenth elsewhere."""
    mixture = ExpertMixture(2, 0.05)
    rng = np.random.default_rng(0)
    for _ in range(4_000):
        since = float(rng.integers(0, 2))
        learned(mixture, since, 0.0, 0.02, [0.01, 0.1, 0.01] if since else [0.01, 0.001, 0.001])
    assert weights_of(mixture, 1.0, 0.0, 0.02)[1] > 0.6
    assert weights_of(mixture, 0.0, 0.0, 0.02)[0] > 0.9


def test_mixture_weights_are_shares_and_begin_with_the_model() -> None:
    mixture = ExpertMixture(3, 0.02)
    weights = weights_of(mixture, 0.4, -0.7, 0.1)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] > 0.8


def test_answers_go_the_way_that_had_most_hits() -> None:
    mixture = ExpertMixture(2, 0.05)
    np.testing.assert_array_equal(
        mixture.grid_point, [0.0, 1.0, 0.0, 0.0], "nothing speaks against what was learned yet"
    )
    cases = (([2], 2), ([1, 0], 1), ([2, 3, 5], 5), ([6], 6), ([7, 6], 6), ([12], 12), ([0, 12], 12))
    for most, taken in cases:
        mixture.restore(mixture.to_arrays() | {"hits": np.zeros(len(GRID))})
        mixture.record_hits(np.isin(np.arange(len(GRID)), most).tolist())
        np.testing.assert_array_equal(mixture.grid_point, GRID[taken], str(most))


def test_beyond_what_was_learned_go_only_windows_with_anything_taken_since() -> None:
    seen, answers = fed_ensemble(), np.random.default_rng(0).dirichlet(np.ones(ITEMS + 1))[None]
    context = [0, 4, 5]
    for point in range(5, len(GRID)):
        found = at_point(seen, point, features_of(context, 0.0), answers)
        np.testing.assert_array_equal(found, at_point(seen, 4, features_of(context, 0.0), answers))
        assert not np.allclose(
            at_point(seen, point, features_of(context, 1.0), answers),
            at_point(seen, 4, features_of(context, 1.0), answers),
        )


SET_UP = np.array([[0, 4, 5], [4, 5, 6], [0, 0, 9], [7, 4, 5]]), np.array([6, 7, 4, 8])
"""Newest windows of set-up, and what followed them."""


def ensemble(retention: int = 0) -> OnlineEnsemble:
    trend = {"half_lives": [50.0], "retention": retention, "shrinkage": 5.0, "followed_events": 100}
    return OnlineEnsemble(USUAL, of_set_up(), 2, Config.model_validate({"trend": trend, "windows": {"length": 3}}))


def of_set_up() -> ItemTransitions:
    transitions = ItemTransitions(4, 3, 5.0)
    for context, target in zip(*SET_UP, strict=True):
        transitions.add(context, int(target))
    return transitions


def fed_ensemble() -> OnlineEnsemble:
    seen, rng = ensemble(), np.random.default_rng(5)
    for _ in range(30):
        context = rng.integers(1, 9, size=3)
        seen.learn(features_of(context.tolist(), 1.0), 0, int(rng.integers(1, 12)), 0.01, [False] * len(GRID))
    return seen


def features_of(context: list[int], since: float) -> WindowFeatures:
    return WindowFeatures(np.array([context]), ONE[None], np.array([since]), np.array([0.05]))


def test_one_item_taken_since_is_enough() -> None:
    """Nor has anybody who took nothing yet been there in set-up."""
    contexts = np.array([[0, 4, 5], [0, 4, 5], [4, 5, 6], [0, 0, 0]])
    features = window_features(contexts, np.ones((4, 1)), np.array([0, 1, 3, 0]), np.array([[0.1, 0.9]] * 4))
    assert features.since.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert features.max_probability.tolist() == [0.9] * 4


@pytest.mark.parametrize("since", [0.0, 1.0])
def test_hits_are_those_of_the_answers_at_each_grid_point(since: float) -> None:
    """The rank of the target among what may be recommended, on each point by itself."""
    rng, seen = np.random.default_rng(3), ensemble()
    found, followed = [], [4]
    for _ in range(300):
        window = features_of([0, *followed[-2:]] if len(followed) > 1 else [0, 0, *followed], since)
        answers, target = rng.dirichlet(np.ones(ITEMS + 1))[None], int(rng.zipf(1.5)) % ITEMS + 1
        excluded = np.array([0, 4, 9, 17])
        answered, hits = seen.score_grid(window, answers, target, excluded)
        np.testing.assert_allclose(answered, seen.mix(window, answers), rtol=1e-12, atol=1e-15)
        each = [at_point(seen, point, window, answers) for point in range(len(GRID))]
        expected = [rank_of_targets(a, np.array([target]), excluded[None])[0] <= LIST_LENGTH for a in each]
        assert hits == expected
        found.append(hits)
        seen.learn(window, 0, target, float(answers[0, target]), hits)
        followed.append(target)
    assert np.ptp(np.array(found, dtype=int), axis=1).any(), "the points differ now and then"
    assert np.array_equal(seen.to_arrays()["hits"], np.sum(found, axis=0))


def at_point(seen: OnlineEnsemble, point: int, window: WindowFeatures, answers: Array) -> Array:
    """Probabilities of an ensemble with the same counts and weights, in which this point alone had a hit."""
    other, arrays = ensemble(), seen.to_arrays()
    other.restore(arrays | {"hits": (point == np.arange(len(GRID))).astype(float)}, ROWS)
    return other.mix(window, answers)


def test_a_component_is_the_transitions_with_popularity_as_the_rest() -> None:
    """Each component by itself, where the transitions of an item are of set-up, recent, or both."""
    seen, answers = fed_ensemble(), np.full((1, ITEMS + 1), 1.0 / (ITEMS + 1))
    window = features_of([0, 4, 5], 1.0)
    fallback = probabilities_by(seen._popularity, ONE)[0]
    late, both = ItemTransitions(100, 3, 5.0), ItemTransitions(100, 3, 5.0)
    late.restore(seen.to_arrays(), ROWS)
    for context, target in [*zip(*SET_UP, strict=True), *counted_by(late)]:
        both.add(context, int(target))
    for transitions, points in ((late, (7, 8)), (both, (11, 12))):
        near, far = (at_point(seen, point, window, answers)[0] for point in points)
        of_learned = GRID[list(points), 1]
        component = far + (far - near) * of_learned[1] / (of_learned[0] - of_learned[1])
        found = transitions.of(window.contexts[0])
        known = transitions.known(np.array([found.evidence]))
        expected = known * found.over(ITEMS + 1) + (1.0 - known) * fallback
        np.testing.assert_allclose(component, expected, atol=1e-12)
        assert 0.0 < known < 1.0
    assert both.of(window.contexts[0]).evidence > late.of(window.contexts[0]).evidence


def counted_by(transitions: ItemTransitions) -> list[tuple[Ids, int]]:
    arrays = transitions.to_arrays()
    events = list(zip(arrays["followed_contexts"], arrays["followed_rows"].tolist(), strict=True))
    return events[: int(arrays["followed"])]


def test_windows_that_are_mixed_together_are_mixed_as_each_by_itself() -> None:
    seen, rng = fed_ensemble(), np.random.default_rng(8)
    contexts = rng.integers(0, 9, size=(6, 3))
    since, max_probability = np.array([0.0, 1.0] * 3), rng.random(6)
    features = WindowFeatures(contexts, rng.dirichlet([0.5, 0.5], size=6), since, max_probability)
    answers = rng.dirichlet(np.ones(ITEMS + 1), size=6)
    for point in (0, 2, 4, 6, 10):
        seen.restore(seen.to_arrays() | {"hits": (point == np.arange(len(GRID))).astype(float)}, ROWS)
        each = [seen.mix(features[i : i + 1], answers[i : i + 1])[0] for i in range(6)]
        np.testing.assert_allclose(seen.mix(features, answers), each, rtol=1e-12)
        in_place = answers.astype(np.float32)
        assert seen.mix(features, in_place, in_place=True) is in_place
        np.testing.assert_allclose(in_place, each, rtol=1e-5)
    assert seen.mix(features[:0], answers[:0]).shape == (0, ITEMS + 1)


def test_who_is_as_in_set_up_learns_from_what_followed_there() -> None:
    """Held-out set-up windows whose targets the model misses, and what followed in set-up does not."""
    seen, rng = ensemble(retention=2), np.random.default_rng(2)
    contexts = np.array([[0, 4, 5]] * 8)
    held = WindowFeatures(contexts, np.tile(ONE, (8, 1)), np.zeros(8), np.full(8, 0.05))
    seen.hold_out(held, np.array([6, 7, 8, 6, 7, 8, 6, 7]), np.full(8, 0.002))
    answers = np.full((1, ITEMS + 1), 0.9 / ITEMS)
    features = features_of([0, 4, 5], 0.0)
    first = seen.mix(features, answers)[0, [6, 7, 8]].sum()
    for _ in range(800):
        event = features_of(rng.integers(10, 30, size=3).tolist(), 1.0)
        seen.learn(event, 0, int(rng.integers(10, 30)), 0.03, [False] * len(GRID))
    assert seen.mix(features, answers)[0, [6, 7, 8]].sum() > 2.0 * first


def test_where_the_model_is_sure_the_trend_keeps_out() -> None:
    """A model that is right when it is sure, and far off when it is not."""
    mixture = ExpertMixture(1, 0.05)
    rng = np.random.default_rng(0)
    for _ in range(4_000):
        sure = bool(rng.integers(0, 2))
        learned(mixture, 0.5, 0.0, 0.3 if sure else 0.01, [0.3, 0.02] if sure else [0.001, 0.02])
    assert weights_of(mixture, 0.5, 0.0, 0.3)[0] > 0.8
    assert weights_of(mixture, 0.5, 0.0, 0.01)[1] > 0.8


def test_the_mixture_restores_to_the_bit() -> None:
    mixture, again = ExpertMixture(2, 0.05), ExpertMixture(2, 0.05)
    learned(mixture, 0.3, 0.2, 0.1, [0.1, 0.3, 0.2])
    again.restore(mixture.to_arrays())
    for part in (mixture, again):
        learned(part, 0.9, -0.2, 0.1, [0.3, 0.1, 0.2])
    np.testing.assert_array_equal(weights_of(mixture, 0.5, 0.5, 0.5), weights_of(again, 0.5, 0.5, 0.5))


def test_windows_that_are_learned_together_make_one_step_in_the_sum_of_their_directions() -> None:
    together, one, other = ExpertMixture(2, 0.05), ExpertMixture(2, 0.05), ExpertMixture(2, 0.05)
    first, second = (0.9, 0.1, 0.2, [0.1, 0.3, 0.2]), (0.1, -0.4, 0.5, [0.6, 0.1, 0.3])
    columns = [np.array(column) for column in zip(first, second, strict=True)]
    together.learn(*columns)
    learned(one, *first)
    learned(other, *second)
    begun = ExpertMixture(2, 0.05).to_arrays()["theta"]
    np.testing.assert_allclose(
        together.to_arrays()["theta"], one.to_arrays()["theta"] + other.to_arrays()["theta"] - begun
    )


def test_what_is_asked_of_many_windows_at_once_is_what_is_asked_of_each() -> None:
    rng, regions = np.random.default_rng(1), 12
    seen = DecayedPopularity(USUAL, regions, (50.0, 500.0), 20.0)
    shares = rng.dirichlet([0.3] * regions, size=40)
    rows = rng.integers(1, ITEMS + 1, size=40)
    contexts = rng.integers(0, ITEMS + 1, size=(40, 10))
    contexts[0] = 0
    for share, row in zip(shares, rows.tolist(), strict=True):
        seen.add(share, row)
    together = seen.probabilities_of(np.array([counted(share) for share in shares]), rows)
    alone = [probabilities_by(seen, share)[:, row] for share, row in zip(shares, rows, strict=True)]
    np.testing.assert_allclose(together, alone)
    np.testing.assert_allclose(seen.lifts(contexts), [seen.lifts(context[None])[0] for context in contexts])
    assert seen.lifts(contexts)[0] == 0.0
