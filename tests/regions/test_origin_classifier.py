"""The gate: what it sees of a window, and how it tells origins apart."""

import json
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
import torch

from pipeline.arrays import Array
from pipeline.regions.encoded import Encoded
from pipeline.regions.features import GateView, familiarity
from pipeline.regions.origin_classifier import fit_origins
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.vmf import shares_among
from tests.models.backbones.small import CONTEXTS, EMPTY, ITEMS, KINDS, small_backbone

COUNTS = np.array([0, 9, 0, 99, *[4] * (ITEMS - 3)])
"""Set-up met item 1 nine times, item 2 never, item 3 often."""


def sample(center: float, n: int, seed: int, features: int = 4) -> Array:
    return np.random.default_rng(seed).normal(center, 1.0, size=(n, features))


def fitted(origins: Sequence[int], samples: Sequence[Array], masses: Sequence[float], penalty: float) -> OriginModel:
    """A model of windows that nothing is known of but features."""
    return fit_origins(origins, [Encoded.timeless(s) for s in samples], np.zeros((len(origins), 0)), masses, penalty)


def two_origins(penalty: float = 1e-3, n: int = 400) -> OriginModel:
    return fitted([7], [sample(0, n, 0), sample(2, n, 1)], [1.0, 1.0], penalty)


def test_familiarity_is_the_unknown_share_and_the_mean_and_least_log_count() -> None:
    seen = familiarity(np.array([[0, 1, 2, 3, 3], [0, 0, 0, 0, 1]]), COUNTS)
    logs = np.log([10.0, 1.0, 100.0, 100.0])
    np.testing.assert_allclose(seen, [[0.25, logs.mean(), 0.0], [0.0, np.log(10), np.log(10)]])


def test_an_empty_window_is_no_news() -> None:
    assert familiarity(EMPTY.numpy(), COUNTS).tolist() == [[0.0, 0.0, 0.0]]


def two_regions(width: int) -> tuple[Region, ...]:
    """Two set-up regions, along the first two axes."""
    return tuple(Region(i + 1, 0, Status.LIVE, Origin.BASE, None, np.eye(width)[i], 0.5, 20.0, 0.5) for i in range(2))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gate_sees_unit_means_last_states_familiarity_and_what_was_taken_since(kind: str) -> None:
    both = torch.cat([EMPTY, CONTEXTS])
    with torch.inference_mode():
        states, vectors = small_backbone(kind)(both)
    width = vectors.shape[1]
    view, since = GateView(COUNTS, two_regions(width)), np.arange(len(both)) % 3
    seen = view(states, both.numpy(), since)
    assert seen.features.shape == (len(both), 2 * width + 3)
    assert seen.features.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(seen.means, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(seen.features[:, width : 2 * width], axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(seen.features[:, :width], seen.means)
    np.testing.assert_array_equal(seen.features[:, -3:], familiarity(both.numpy(), COUNTS))
    shares = shares_among(view.setup_regions, seen.means)
    np.testing.assert_allclose(seen.recent, np.log1p(since)[:, None] * shares)


def test_what_was_taken_since_in_one_region_says_nothing_of_another() -> None:
    """Windows of the first region have moved on; those of the second, as recent, look as in set-up."""
    view = GateView(np.full(ITEMS + 1, 9), two_regions(8))
    rng = np.random.default_rng(0)

    def seen(region: int, since: int) -> Encoded:
        states = torch.from_numpy(np.eye(8)[region] + rng.normal(scale=0.05, size=(300, 1, 8))).float()
        return view(states, np.ones((300, 1), dtype=np.int64), np.full(300, since))

    known = [seen(region, 0) for region in (0, 1)]
    setup = Encoded(*(np.concatenate([getattr(one, f.name) for one in known]) for f in fields(Encoded)))
    model = fit_origins([7], [setup, seen(0, 6)], np.array([[1.0, 0.0]]), [1.0, 0.5], 1e-2)
    assert model.posterior(seen(0, 6))[:, 1].min() > 0.8
    assert model.posterior(seen(0, 0))[:, 1].max() < 0.4
    assert model.posterior(seen(1, 6))[:, 1].max() < 0.2


def test_choosing_from_what_is_encoded_chooses_in_both_arrays() -> None:
    encoded = Encoded(np.arange(6.0).reshape(3, 2), np.arange(9.0).reshape(3, 3), np.arange(3.0)[:, None])
    chosen = encoded[np.array([2, 0])]
    assert len(chosen) == 2
    assert chosen.means.tolist() == [[4, 5], [0, 1]]
    assert chosen.features.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert chosen.recent.tolist() == [[2], [0]]


def test_with_one_origin_the_model_is_certain() -> None:
    assert OriginModel.certain(4, 0).posterior(Encoded.timeless(sample(3, 5, 0))).tolist() == [[1.0]] * 5
    alone = fitted([], [sample(0, 50, 0)], [1.0], 1e-2)
    assert alone.posterior(Encoded.timeless(sample(3, 5, 0))).tolist() == [[1.0]] * 5


def test_a_posterior_sums_to_one_even_far_out() -> None:
    posterior = two_origins().posterior(
        Encoded.timeless(np.concatenate([sample(0, 20, 3), np.full((1, 4), 1e9), np.full((1, 4), -1e9)]))
    )
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0)
    assert np.isfinite(posterior).all()


def test_origins_that_differ_are_told_apart() -> None:
    model = two_origins()
    assert model.origins == (7,)
    assert model.posterior(Encoded.timeless(sample(0, 500, 5))).argmax(axis=1).mean() < 0.05
    assert model.posterior(Encoded.timeless(sample(2, 500, 6))).argmax(axis=1).mean() > 0.95


def test_each_of_several_origins_has_its_column() -> None:
    centers = (0.0, 3.0, -3.0)
    model = fitted([4, 9], [sample(c, 300, i) for i, c in enumerate(centers)], [1.0] * 3, 1e-3)
    for column, center in enumerate(centers):
        assert (model.posterior(Encoded.timeless(sample(center, 200, 9))).argmax(axis=1) == column).mean() > 0.95


def test_the_odds_are_the_ratio_of_the_densities() -> None:
    # Two normal densities, a unit apart: their log ratio at x is x - 1/2.
    samples = [sample(0, 20_000, 0, features=1), sample(1, 20_000, 1, features=1)]
    x = np.linspace(-1, 2, 7)[:, None]
    posterior = fitted([1], samples, [1.0, 1.0], 1e-9).posterior(Encoded.timeless(x))
    np.testing.assert_allclose(np.log(posterior[:, 1] / posterior[:, 0]), x[:, 0] - 0.5, atol=0.06)


def test_how_many_windows_an_origin_has_does_not_matter() -> None:
    many, few = sample(0, 9_000, 0, features=1), sample(1, 1_000, 1, features=1)
    posterior = fitted([1], [many, few], [1.0, 1.0], 1e-9).posterior(Encoded.timeless(np.array([[0.5]])))
    np.testing.assert_allclose(posterior, 0.5, atol=0.03)


def test_masses_shift_the_odds_by_their_ratio() -> None:
    samples = [sample(0, 20_000, 0, features=1), sample(1, 20_000, 1, features=1)]
    posterior = fitted([1], samples, [1.0, 0.25], 1e-9).posterior(Encoded.timeless(np.array([[0.5]])))
    np.testing.assert_allclose(posterior[0, 1] / posterior[0, 0], 0.25, rtol=0.1)


def test_a_stronger_penalty_is_less_sure_but_keeps_the_balance() -> None:
    x = sample(2, 200, 8)
    confidences = [two_origins(penalty).posterior(Encoded.timeless(x))[:, 1].mean() for penalty in (1e-3, 1e-1, 1e1)]
    assert confidences[0] > confidences[1] > confidences[2] > 0.5
    np.testing.assert_allclose(two_origins(1e6).posterior(Encoded.timeless(x)), 0.5, atol=0.01)


def test_a_feature_that_never_changed_in_set_up_does_no_harm() -> None:
    setup, since = sample(0, 200, 0), sample(2, 200, 1)
    setup[:, 2] = 5.0
    posterior = fitted([1], [setup, since], [1.0, 1.0], 1e-2).posterior(
        Encoded.timeless(np.concatenate([setup, since]))
    )
    assert np.isfinite(posterior).all()


def test_the_units_of_a_feature_do_not_matter() -> None:
    samples, x = [sample(0, 300, 0), sample(1, 300, 1)], sample(1, 50, 2)
    scaled = [s * 1000.0 + 3.0 for s in samples]
    plain = fitted([1], samples, [1.0, 1.0], 1e-2).posterior(Encoded.timeless(x))
    np.testing.assert_allclose(
        fitted([1], scaled, [1.0, 1.0], 1e-2).posterior(Encoded.timeless(x * 1000.0 + 3.0)), plain, atol=1e-4
    )


def test_fitting_is_deterministic_and_draws_nothing() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    np.testing.assert_array_equal(two_origins().weights, two_origins().weights)
    assert torch.equal(torch.rand(2), expected)


def test_a_model_survives_being_recorded_bit_for_bit() -> None:
    model = two_origins()
    again = OriginModel.from_record(json.loads(json.dumps(model.to_record())))
    assert again.origins == model.origins
    np.testing.assert_array_equal(
        again.posterior(Encoded.timeless(sample(1, 20, 4))), model.posterior(Encoded.timeless(sample(1, 20, 4)))
    )
