"""Both backends of the scorer: the same scores up to rounding, for canaries, weights and missing adapters."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.recommend.backends import BatchedBackend, HostBackend
from pipeline.recommend.canary import Canary
from pipeline.recommend.scorer import ScoredBatch, Scorer
from pipeline.regions.bank import Posterior, RegionBank
from tests.server.world import FIRSTS, LENGTH, SETTINGS, A, B, adapter_tensors, histories, origins, region, the_setup

OLD, NEW, OTHER = "r0004_v0001", "r0004_v0002", "r0005_v0001"
CONTEXTS = np.concatenate([histories(first, 8) for first in (*FIRSTS.values(), 61)])
SINCE = np.arange(len(CONTEXTS)) % (LENGTH + 1)
EVERYTHING = Existence.of_all(len(the_setup().catalogue))
CANARY = Canary(A, NEW, OLD, 0.5, 0.3, 7)


@dataclass
class Pair:
    """The two scorers over one set-up, with the same adapters."""

    host: AdapterHost
    forward: BatchedForward

    def __post_init__(self) -> None:
        view, floor = the_setup().view, SETTINGS.gate.floor
        self.exact = Scorer(HostBackend(self.host), view, floor)
        self.batched = Scorer(BatchedBackend(self.forward), view, floor)


def bank() -> RegionBank:
    opened = the_setup().bank.changed(region(A, 2, NEW, 0.8), region(B, 1, OTHER, 0.6))
    return replace(opened, origins=origins(), gate_version=1)


def pair(names: Sequence[str] = (OLD, NEW, OTHER)) -> Pair:
    backbone, adapter = the_setup().backbone, SETTINGS.adapter
    made = Pair(AdapterHost(copy.deepcopy(backbone), adapter), BatchedForward(copy.deepcopy(backbone), adapter, 10**9))
    rows = list(range(1, 21))
    for seed, name in enumerate(names):
        made.host.register(name, adapter_tensors(rows, seed), rows)
        made.forward.register(name, adapter_tensors(rows, seed), rows)
    return made


def close(one: ScoredBatch, other: ScoredBatch) -> None:
    np.testing.assert_allclose(one.posterior.probabilities, other.posterior.probabilities, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.route, other.route, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.scores.probabilities, other.scores.probabilities, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(one.fallback, other.fallback)


def test_both_backends_give_the_same_scores() -> None:
    scorers = pair()
    exact, batched = (s.score(bank(), CONTEXTS, SINCE, EVERYTHING) for s in (scorers.exact, scorers.batched))
    close(exact, batched)
    assert (exact.route[:, 1:] > 0).any()
    assert not exact.fallback.any()
    np.testing.assert_allclose(exact.scores.backbone, batched.scores.backbone, rtol=1e-4, atol=1e-7)


def test_windows_that_a_canary_does_not_reach_get_the_incumbent() -> None:
    scorers, reached = pair(), np.arange(len(CONTEXTS)) % 2 == 0
    exact, batched = (
        s.score(bank(), CONTEXTS, SINCE, EVERYTHING, canaries=[CANARY], incumbent=~reached[:, None])
        for s in (scorers.exact, scorers.batched)
    )
    close(exact, batched)
    without = scorers.exact.score(bank(), CONTEXTS, SINCE, EVERYTHING)
    np.testing.assert_array_equal(exact.route, without.route)
    np.testing.assert_array_equal(exact.scores.probabilities[reached], without.scores.probabilities[reached])
    changed = (exact.scores.probabilities != without.scores.probabilities).any(axis=1)
    assert changed[~reached & (exact.route[:, 1] > 0)].all()


def test_the_origin_weight_before_or_after_the_mixture_is_the_same() -> None:
    scorers, weight = pair(), np.where(SINCE % 2, 0.5, 1.0)

    def origin_weight(posterior: Posterior, route: Array) -> Array:
        assert len(posterior.probabilities) == len(route) == len(weight)
        return weight

    exact = scorers.exact.score(bank(), CONTEXTS, SINCE, EVERYTHING)
    close(exact.reweighted(weight), scorers.batched.score(bank(), CONTEXTS, SINCE, EVERYTHING, origin_weight))
    assert exact.reweighted(np.ones(len(weight))) is exact


def test_the_backbone_is_the_fallback_of_a_missing_adapter() -> None:
    scorers = pair([NEW])
    exact, batched = (s.score(bank(), CONTEXTS, SINCE, EVERYTHING) for s in (scorers.exact, scorers.batched))
    close(exact, batched)
    np.testing.assert_array_equal(exact.fallback, exact.route[:, 2] > 0)
    assert 0 < exact.fallback.sum() < len(CONTEXTS)
    alone = bank().changed(region(B, 1, None, 0.6))
    without = scorers.batched.score(replace(alone, origins=origins()), CONTEXTS, SINCE, EVERYTHING)
    assert not without.fallback.any()
    np.testing.assert_allclose(without.scores.probabilities, batched.scores.probabilities, rtol=1e-5, atol=1e-8)
