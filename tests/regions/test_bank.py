"""Routing: posteriors, routes and mixed answers, and that regions leave each other's answers alone."""

import numpy as np
import pytest
import torch

from pipeline.arrays import Array
from pipeline.config import AdapterSettings
from pipeline.events.existence import Existence
from pipeline.models.lora.host import AdapterHost
from pipeline.models.training.loop import fit
from pipeline.models.training.loss import Candidates
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.encoded import Encoded
from pipeline.regions.mixing import mixed_probabilities, next_item_probabilities
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.route import rerouted
from tests.models.backbones.small import ITEMS, small_backbone, successor_windows

FEATURES = 4
A, B = "r0003_v0001", "r0004_v0001"

Weights = list[list[float]]


def region(
    region_id: int, place: int, origin: Origin = Origin.BASE, adapter: str | None = None, **changed: float
) -> Region:
    numbers = {"radius": 0.5, "concentration": 20.0, "prior": 0.5, **changed}
    return Region(
        region_id,
        0,
        Status.LIVE,
        origin,
        None,
        np.eye(FEATURES)[place],
        numbers["radius"],
        numbers["concentration"],
        numbers["prior"],
        adapter,
        adapter_weight=numbers.get("adapter_weight", 1.0),
    )


def origins(*ids: int, seed: int = 0) -> OriginModel:
    weights = np.random.default_rng(seed).normal(size=(FEATURES + len(ids) + 1, 1 + len(ids)))
    return OriginModel(ids, np.zeros((len(ids), 0)), np.zeros(FEATURES), np.ones(FEATURES), weights)


def bank(adapter_weight: float = 1.0) -> RegionBank:
    """Two set-up regions and two stream regions."""
    regions = (
        region(1, 0),
        region(2, 1),
        region(3, 2, Origin.STREAM, A, adapter_weight=adapter_weight),
        region(4, 3, Origin.STREAM, B),
    )
    return RegionBank(regions, origins(3, 4))


def encoded(n: int, seed: int = 0) -> Encoded:
    means = np.random.default_rng(seed).normal(size=(n, FEATURES))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return Encoded.timeless(means)


def posterior(probabilities: Weights, stream_regions: int) -> Posterior:
    table = np.array(probabilities)
    n, count = table.shape
    zeros = np.zeros(n)
    return Posterior(
        np.arange(1, count + 1), table, stream_regions, np.ones(n, int), table[:, :1], zeros, np.ones(n, int), zeros
    )


# --- posterior --------------------------------------------------------------------------------------------


def test_a_posterior_sums_to_one_over_the_live_regions() -> None:
    found = bank().posterior(encoded(50))
    assert found.region_ids.tolist() == [1, 2, 3, 4]
    assert found.stream_regions == 2
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0)
    assert (found.probabilities >= 0).all()
    assert found.confidence.tolist() == found.probabilities.max(axis=1).tolist()


def test_a_posterior_is_that_of_the_origin_times_that_within_it() -> None:
    one, x = bank(), encoded(50)
    found = one.posterior(x)
    by_origin = one.origins.posterior(x)
    np.testing.assert_allclose(found.probabilities[:, :2].sum(axis=1), by_origin[:, 0])
    np.testing.assert_allclose(found.probabilities[:, 2:], by_origin[:, 1:])


def test_set_up_shares_do_not_depend_on_the_origin() -> None:
    x = encoded(200)
    found, before = bank().posterior(x), RegionBank(bank().regions[:2], OriginModel.certain(FEATURES, 0)).posterior(x)
    assert set(found.setup_tops.tolist()) == {1, 2}
    np.testing.assert_array_equal(found.setup_tops, before.tops)
    np.testing.assert_allclose(found.setup_margins, before.margin)
    assert (found.setup_rivals == 3 - found.setup_tops).all()
    assert set(found.tops.tolist()) & {3, 4}


def test_a_lone_region_is_certain_and_its_own_rival() -> None:
    alone = RegionBank((region(1, 0),), OriginModel.certain(FEATURES, 0)).posterior(encoded(5))
    assert alone.confidence.tolist() == alone.margin.tolist() == alone.setup_margins.tolist() == [1.0] * 5
    assert alone.setup_rivals.tolist() == [1] * 5


def test_the_angle_is_to_the_centroid_of_the_top_region() -> None:
    found = bank().posterior(Encoded.timeless(np.eye(FEATURES)))
    centroids = {r.region_id: r.centroid for r in bank().live}
    expected = [np.arccos(np.eye(FEATURES)[i] @ centroids[top]) for i, top in enumerate(found.tops.tolist())]
    np.testing.assert_allclose(found.angles, expected)


def test_ended_regions_have_no_column() -> None:
    one = bank()
    ended = one.changed(Region(2, 1, Status.RETIRED, Origin.BASE, None, np.eye(FEATURES)[1], 0.5, 20.0, 0.5)).rebound(
        origins(4)
    )
    assert [r.region_id for r in ended.live] == [1, 4]
    assert [r.region_id for r in ended.regions] == [1, 2, 3, 4]
    assert ended.adapters == (None, B)
    assert ended.gate_version == one.gate_version + 1
    found = ended.posterior(encoded(20))
    assert found.probabilities.shape == (20, 2)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0)


# --- route ------------------------------------------------------------------------------------------------


def test_set_up_regions_count_as_one_in_a_route() -> None:
    route = posterior([[0.2, 0.3, 0.1, 0.4], [0.0, 0.0, 0.5, 0.5]], stream_regions=1).route(0.05)
    np.testing.assert_allclose(route, [[0.6, 0.4], [0.5, 0.5]])


def test_set_up_regions_that_lie_below_the_floor_one_by_one_may_lie_above_it_together() -> None:
    np.testing.assert_allclose(posterior([[0.06, 0.06, 0.88]], stream_regions=1).route(0.1), [[0.12, 0.88]])


def test_what_lies_below_the_floor_is_dropped_and_the_rest_made_whole() -> None:
    route = posterior([[0.5, 0.45, 0.05], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]], stream_regions=2).route(0.1)
    np.testing.assert_allclose(route, [[0.5 / 0.95, 0.45 / 0.95, 0.0], [0, 1, 0], [0.1, 0.1, 0.8]])


def test_where_all_lie_below_the_floor_the_likeliest_answers() -> None:
    route = posterior([[0.2, 0.2, 0.1, 0.3, 0.2], [0.3, 0.3, 0.1, 0.1, 0.2]], stream_regions=3).route(0.7)
    assert route.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    assert posterior([[0.2, 0.1, 0.3, 0.25, 0.15]], stream_regions=4).route(0.45).tolist() == [[0, 0, 1, 0, 0]]


def test_with_set_up_alone_the_backbone_answers() -> None:
    assert posterior([[0.3, 0.7], [1.0, 0.0]], stream_regions=0).route(0.4).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("floor", [0.01, 0.1, 0.3, 0.49])
def test_a_route_sums_to_one(floor: float) -> None:
    table = np.random.default_rng(0).dirichlet(np.full(7, 0.3), size=300).tolist()
    route = posterior(table, stream_regions=4).route(floor)
    np.testing.assert_allclose(route.sum(axis=1), 1.0)
    kept = route[route > 0]
    assert (kept >= floor).all()


def test_shares_leave_to_the_backbone_what_an_adapter_is_not_trusted_with() -> None:
    route = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.4, 0.4]])
    np.testing.assert_allclose(bank().shares(route), route)
    shares = bank(adapter_weight=0.25).shares(route)
    np.testing.assert_allclose(shares, [[1, 0, 0], [0.75, 0.25, 0], [0.5, 0.1, 0.4]])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert route.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.4, 0.4]]


def test_the_likelihood_of_windows_is_that_of_the_mixture_of_set_up_regions() -> None:
    one = bank()
    near, far = np.eye(FEATURES)[:2], -np.eye(FEATURES)[:2]
    assert (one.log_likelihood(near) > one.log_likelihood(far) + 15).all()
    # Two regions alike and half as large are one.
    single = RegionBank((region(1, 0, prior=1.0),), OriginModel.certain(FEATURES, 0))
    double = RegionBank((region(1, 0), region(2, 0)), OriginModel.certain(FEATURES, 0))
    np.testing.assert_allclose(single.log_likelihood(near), double.log_likelihood(near))
    # Priors are shares: their sum is no matter.
    tenth = RegionBank((region(1, 0, prior=0.1),), OriginModel.certain(FEATURES, 0))
    np.testing.assert_allclose(single.log_likelihood(near), tenth.log_likelihood(near))


# --- answers ----------------------------------------------------------------------------------------------


def trained(host: AdapterHost, name: str, seed: int) -> None:
    host.create(name, list(range(1, ITEMS + 1)), parent=None, seed=seed)
    with host.active(name) as model:
        groups = host.parameter_groups(name, 1e-2, 1e-2)
        candidates = Candidates(torch.arange(1, ITEMS + 1))
        fit(model, successor_windows(64, seed), groups, candidates, epochs=2, batch_size=16, seed=seed)


@pytest.fixture
def host() -> AdapterHost:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
    trained(host, A, 1)
    trained(host, B, 2)
    return host


CONTEXTS = successor_windows(48, 7).contexts
ALL = Existence.of_all(ITEMS)
ROUTE = np.zeros((48, 3))
ROUTE[:16, 0] = 1.0
ROUTE[16:32, 1] = 1.0
ROUTE[32:] = [0.25, 0.25, 0.5]
"""Windows of the backbone alone, of A alone, and of all three."""


def answer(host: AdapterHost, route: Array, adapters: tuple[str | None, ...] = (None, A, B)) -> torch.Tensor:
    return mixed_probabilities(host, CONTEXTS, route, adapters, ALL)


def test_an_answer_is_the_mixture_of_its_route(host: AdapterHost) -> None:
    parts = [next_item_probabilities(host, CONTEXTS, name, ALL) for name in (None, A, B)]
    weights = torch.from_numpy(ROUTE).float()
    expected = sum(part * weights[:, i : i + 1] for i, part in enumerate(parts))
    torch.testing.assert_close(answer(host, ROUTE), expected)
    assert not torch.allclose(parts[0], parts[1], atol=1e-3)


def test_an_answer_is_a_distribution_over_items_and_never_padding(host: AdapterHost) -> None:
    found = answer(host, ROUTE)
    assert found.shape == (48, ITEMS + 1)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(48))
    assert (found[:, 0] == 0).all()
    assert (found >= 0).all()


def test_windows_of_the_backbone_alone_do_not_see_that_adapters_change(host: AdapterHost) -> None:
    before = answer(host, ROUTE)
    static = next_item_probabilities(host, CONTEXTS, None, ALL)
    assert torch.equal(before[:16], static[:16])
    host.drop(A)
    trained(host, A, 9)
    after = answer(host, ROUTE)
    assert torch.equal(after[:16], before[:16])
    assert not torch.equal(after[16:], before[16:])


def test_the_trust_of_one_region_does_not_reach_the_windows_of_another(host: AdapterHost) -> None:
    route = ROUTE.copy()
    route[32:] = [0.5, 0.0, 0.5]
    answers = [answer(host, bank(adapter_weight).shares(route)) for adapter_weight in (1.0, 0.3)]
    for rows in (slice(0, 16), slice(32, 48)):
        assert torch.equal(answers[0][rows], answers[1][rows])
    assert not torch.equal(answers[0][16:32], answers[1][16:32])


def test_the_backbone_answers_for_an_adapter_that_is_missing(host: AdapterHost) -> None:
    host.drop(A)
    found, static = answer(host, ROUTE), next_item_probabilities(host, CONTEXTS, None, ALL)
    torch.testing.assert_close(found[:32], static[:32])
    torch.testing.assert_close(found.sum(dim=1), torch.ones(48))


def test_nobody_asked_nobody_answered(host: AdapterHost) -> None:
    assert mixed_probabilities(host, CONTEXTS[:0], ROUTE[:0], (None, A, B), ALL).shape == (0, ITEMS + 1)


def test_a_route_in_which_stream_regions_take_more_or_less() -> None:
    route = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    found = rerouted(route, np.array([2.0, 1.0, 0.25]))
    np.testing.assert_allclose(found, [[0.0, 0.6, 0.4], [0.5, 0.3, 0.2], [0.75, 0.25, 0.0]])
    np.testing.assert_array_equal(found[1], route[1])
