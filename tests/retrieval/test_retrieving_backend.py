"""Scores by an index against scores of all items, for gate and server."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.events.existence import Existence
from pipeline.models.injected import InjectedItems
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.recommend.backends import Backend, BatchedBackend, HostBackend
from pipeline.recommend.candidates.query import BACKBONE, MODEL
from pipeline.recommend.model_scores import AllScores, FoundScores
from pipeline.recommend.retrieval import with_index
from pipeline.recommend.scorer import ScoredBatch, Scorer
from pipeline.regions.bank import RegionBank
from pipeline.retrieval import item_index, retriever
from pipeline.retrieval.adapted_items import AdaptedItems, ForwardItems, HostItems
from tests.server.world import FIRSTS, LENGTH, SETTINGS, A, B, adapter_tensors, histories, origins, region, the_setup

NEW, OTHER = "r0004_v0002", "r0005_v0001"
CONTEXTS = np.concatenate([histories(first, 8) for first in (*FIRSTS.values(), 61)])
SINCE = np.arange(len(CONTEXTS)) % (LENGTH + 1)
ITEMS = len(the_setup().catalogue)
EVERYTHING = Existence.of_all(ITEMS)
ROWS = list(range(1, 21))


def bank() -> RegionBank:
    opened = the_setup().bank.changed(region(A, 2, NEW, 0.8), region(B, 1, OTHER, 0.6))
    return replace(opened, origins=origins(), gate_version=1)


def of_host(seeds: Sequence[int] = (0, 1)) -> tuple[Backend, AdaptedItems, AdapterHost]:
    host = AdapterHost(copy.deepcopy(the_setup().backbone), SETTINGS.adapter)
    for name, seed in zip((NEW, OTHER), seeds, strict=True):
        host.register(name, adapter_tensors(ROWS, seed), ROWS)
    return HostBackend(host), HostItems(host), host


def of_forward(seeds: Sequence[int] = (0, 1)) -> tuple[Backend, AdaptedItems, BatchedForward]:
    forward = BatchedForward(copy.deepcopy(the_setup().backbone), SETTINGS.adapter, 10**9)
    for name, seed in zip((NEW, OTHER), seeds, strict=True):
        forward.register(name, adapter_tensors(ROWS, seed), ROWS)
    return BatchedBackend(forward), ForwardItems(forward), forward


Made = Callable[..., tuple[Backend, AdaptedItems, AdapterHost | BatchedForward]]
BOTH = pytest.mark.parametrize("made", [of_host, of_forward])


def scored(backend: Backend, existence: Existence = EVERYTHING) -> ScoredBatch:
    return Scorer(backend, the_setup().view, SETTINGS.gate.floor).score(bank(), CONTEXTS, SINCE, existence)


def indexed(backend: Backend, items: AdaptedItems, most: int = 0) -> Backend:
    config = SETTINGS.model_copy(update={"ranking": SETTINGS.ranking.model_copy(update={"exact_items": most})})
    return with_index(backend, items, ["", *the_setup().catalogue.item_ids], the_setup(), config)


def over_all(scores: FoundScores) -> tuple[Array, Array]:
    """(n, items + 1) mixed probabilities and those of the backbone."""
    both = [scores.both(i, np.arange(ITEMS + 1)) for i in range(len(CONTEXTS))]
    return np.stack([mixed for mixed, _ in both]), np.stack([backbone for _, backbone in both])


def close(found: FoundScores, exact: AllScores) -> None:
    mixed, backbone = over_all(found)
    np.testing.assert_allclose(mixed[:, 1:], exact.probabilities[:, 1:], rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(backbone[:, 1:], exact.backbone[:, 1:], rtol=2e-3, atol=1e-7)


@BOTH
def test_scores_are_those_of_all_items_where_all_are_in_the_sample(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retriever, "FOUND", 100)
    assert retriever.FOUND < ITEMS <= retriever.SAMPLED
    backend, items, _holder = made()
    exact, found = scored(backend), scored(indexed(backend, items))
    assert isinstance(exact.scores, AllScores)
    assert isinstance(found.scores, FoundScores)
    close(found.scores, exact.scores)
    targets = 1 + np.arange(len(CONTEXTS)) % ITEMS
    for one, other in zip(found.scores.of(targets), exact.scores.of(targets), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(found.scores.of_setup(ITEMS), 1.0)
    weight = np.linspace(0.5, 1.5, len(CONTEXTS))
    close(found.scores.reweighted(weight), exact.scores.reweighted(weight))
    assert (exact.route[:, 1:] > 0).any()


@BOTH
def test_texts_in_half_precision_score_as_those_of_all_items_do(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = the_setup()
    catalogue = replace(setup.catalogue, vectors=setup.catalogue.vectors.astype(np.float16))
    backbone = copy.deepcopy(setup.backbone)
    backbone.items.hold_texts(torch.float16)
    monkeypatch.setitem(globals(), "the_setup", lambda: replace(setup, backbone=backbone, catalogue=catalogue))
    monkeypatch.setattr(retriever, "FOUND", 100)
    backend, items, _holder = made()
    exact, found = scored(backend), scored(indexed(backend, items))
    close(found.scores, exact.scores)
    assert np.array_equal(items.texts().all()[1:], catalogue.vectors)
    assert not np.array_equal(items.texts().all()[1:], setup.catalogue.vectors)


@BOTH
def test_ranks_and_lists_are_those_of_all_items(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_index, "RECALL", 1.0)
    monkeypatch.setattr(item_index, "BEST", ITEMS)
    backend, items, _holder = made()
    exact, found = scored(backend), scored(indexed(backend, items))
    targets = 1 + (7 * np.arange(len(CONTEXTS))) % ITEMS
    ranks = [of.scores.ranks(targets, CONTEXTS, EVERYTHING) for of in (found, exact)]
    assert np.array_equal(*ranks)
    assert (ranks[0] > 0).any()
    for one, other, context in zip(found.scores.experts(), exact.scores.experts(), CONTEXTS, strict=True):
        allowed = EVERYTHING.allowed(0, context)
        for model in (MODEL, BACKBONE):
            listed = [of[model].shortlist(allowed, 10)[0] for of in (one, other)]
            assert set(listed[0].tolist()) == set(listed[1].tolist())


def test_injected_items_are_scored_by_their_vectors() -> None:
    backend, items, host = of_host()
    assert isinstance(host, AdapterHost)
    ids = the_setup().catalogue.item_ids
    vectors = np.random.default_rng(3).normal(size=(3, items.vectors().shape[1])).astype(np.float32)
    # One of them is moved by both adapters, whose own rows take precedence.
    host.inject(InjectedItems((ids[4], ids[39], ids[50]), vectors), the_setup().catalogue.row_of)
    close(scored(indexed(backend, items)).scores, scored(backend).scores)  # type: ignore[arg-type]
    forward_backend, forward_items, forward = of_forward()
    assert isinstance(forward, BatchedForward)
    forward.inject([5, 40, 51], torch.from_numpy(vectors))
    found = scored(indexed(forward_backend, forward_items))
    close(found.scores, scored(forward_backend).scores)  # type: ignore[arg-type]


@BOTH
def test_items_that_do_not_exist_are_not_found(made: Made) -> None:
    backend, items, holder = made()
    gone = np.arange(30, 60)
    existence = replace(EVERYTHING, hidden=gone)
    searching = indexed(backend, items)
    scored(searching)
    found = scored(searching, existence)
    assert isinstance(found.scores, FoundScores)
    for i in range(len(CONTEXTS)):
        assert not np.isin(found.scores.found(i), gone).any()
    if isinstance(holder, BatchedForward):
        holder.hide(torch.from_numpy(~existence.existing))
    mixed, expected = over_all(found.scores)[0], scored(backend, existence).scores
    assert isinstance(expected, AllScores)
    left = np.setdiff1d(np.arange(1, ITEMS + 1), gone)
    np.testing.assert_allclose(mixed[:, left], expected.probabilities[:, left], rtol=2e-3, atol=1e-7)


@BOTH
def test_another_version_of_a_region_changes_no_bit_for_windows_without_it(made: Made) -> None:
    answers = []
    for seeds in ((0, 1), (5, 1)):
        backend, items, _holder = made(seeds)
        answers.append(scored(indexed(backend, items)))
    before, after = answers
    assert np.array_equal(before.route, after.route)
    without = before.route[:, 1] == 0.0
    assert 0 < without.sum() < len(CONTEXTS)
    one, other = (over_all(of.scores)[0] for of in answers)  # type: ignore[arg-type]
    assert np.array_equal(one[without], other[without])
    assert not np.array_equal(one[~without], other[~without])


def test_a_catalogue_that_is_not_large_is_scored_as_before() -> None:
    backend, items, _host = of_host()
    exact, found = scored(backend), scored(indexed(backend, items, most=ITEMS))
    assert np.array_equal(found.scores.probabilities, exact.scores.probabilities)  # type: ignore[attr-defined]


def test_the_mass_of_what_is_not_found_is_estimated_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retriever, "FOUND", 12)
    monkeypatch.setattr(retriever, "SAMPLED", ITEMS // 2)
    backend, items, _host = of_host()
    exact, found = scored(backend), scored(indexed(backend, items))
    assert isinstance(found.scores, FoundScores)
    assert isinstance(exact.scores, AllScores)
    # Items whose codes are level with the last one are left out.
    assert all(6 <= len(found.scores.backbone.found[i]) <= 12 for i in range(len(CONTEXTS)))
    # Probabilities of one window are all wrong by the same factor.
    factors = over_all(found.scores)[1][:, 1:] / exact.scores.backbone[:, 1:]
    np.testing.assert_allclose(factors, factors[:, :1].repeat(ITEMS, axis=1), rtol=2e-3)
    assert np.abs(np.log(factors[:, 0])).max() < 0.2


@BOTH
def test_a_request_that_admits_few_items_is_answered_as_by_scores_of_all(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although an index found none of them; each in its own window, and by both models."""
    monkeypatch.setattr(retriever, "FOUND", 5)
    backend, items, _ = made()
    exact, found = scored(backend), scored(indexed(backend, items))
    existing = np.arange(ITEMS + 1) % 6 == 1
    for window, (of_all, of_found) in enumerate(zip(exact.scores.experts(), found.scores.experts(), strict=True)):
        allowed = Allowed(existing, CONTEXTS[window], narrowed=True)
        for model in (MODEL, BACKBONE):
            lists = [scores.shortlist(allowed, 60) for scores in (of_all[model], of_found[model])]
            assert allowed.count < 60
            assert set(lists[0][0].tolist()) == set(lists[1][0].tolist())
