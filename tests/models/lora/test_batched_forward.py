"""One pass for a batch that mixes regions: the same answers as one adapter after the other, through peft."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from adapters_store.errors import AdapterRefused
from pipeline.config import AdapterSettings
from pipeline.events.existence import Existence
from pipeline.models.injected import InjectedItems
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.factors import layout_of
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.backends import BatchedBackend, HostBackend, Mixture
from pipeline.regions.bank import RegionBank
from pipeline.regions.mixing import mixed_probabilities, next_item_probabilities
from pipeline.regions.region import Origin, Region, Status
from tests.models.backbones.small import ITEMS, KINDS, LENGTH, small_backbone, small_catalogue
from tests.regions.test_bank import origins

NAMES = tuple(f"r{region:04}_v0001" for region in range(3, 10))
ALL = Existence.of_all(ITEMS)
AMPLE = 10**9
MOST_ROWS = 5
"""Item rows that an adapter here moves at most."""


def slot(rows: int) -> int:
    """Bytes of one active adapter of rank 8 that moved so many item rows.

    Its factors, for all items in whole cache lines its text projection and which of them it moved, by how much, and a
    list.
    """
    backbone = small_backbone("sasrec", text_dimensions=6)
    packed = layout_of(backbone, AdapterSettings()).size
    return 4 * (packed + (8 + 1) * 16) + rows * (4 * backbone.items.rows.embedding_dim + 8)


SLOT = slot(MOST_ROWS)


def contexts(n: int, seed: int) -> np.ndarray:
    """Windows of every length, empty ones among them."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, ITEMS + 1, size=(n, LENGTH))
    return np.where(np.arange(LENGTH) < rng.integers(0, LENGTH + 1, size=(n, 1)), 0, rows)


def randomise(host: AdapterHost, name: str, seed: int, moved: int | None = None) -> None:
    """Give an adapter weights as large as those of a trained one, and rows of its own."""
    rng = np.random.default_rng(seed)
    size = 1 + seed % MOST_ROWS if moved is None else moved
    rows = sorted(rng.choice(np.arange(1, ITEMS + 1), size=size, replace=False).tolist())
    host.create(name, rows, parent=None, seed=seed)
    tensors = {k: rng.normal(size=v.shape, scale=0.3).astype(np.float32) for k, v in host.tensors(name).items()}
    host.drop(name)
    host.register(name, tensors, rows)


def pair(
    kind: str, settings: AdapterSettings, text: int = 6, budget: int = AMPLE
) -> tuple[AdapterHost, BatchedForward]:
    """peft's host and ours, with the same adapters."""
    backbone = small_backbone(kind, text_dimensions=text)
    host = AdapterHost(copy.deepcopy(backbone), settings)
    forward = BatchedForward(backbone, settings, budget)
    for seed, name in enumerate(NAMES):
        randomise(host, name, seed)
        assert forward.register(name, host.tensors(name), host.rows(name))
    return host, forward


def one_by_one(host: AdapterHost, windows: np.ndarray, names: Sequence[str]) -> torch.Tensor:
    return torch.cat([next_item_probabilities(host, windows[i : i + 1], name, ALL) for i, name in enumerate(names)])


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [0, 6])
@pytest.mark.parametrize(
    "settings",
    [AdapterSettings(), AdapterSettings(rank=3, alpha=5.0, text_projection=False), AdapterSettings(item_rows=False)],
    ids=["all", "no text", "no rows"],
)
def test_a_mixed_pass_equals_one_adapter_after_the_other(kind: str, text: int, settings: AdapterSettings) -> None:
    host, forward = pair(kind, settings, text)
    for seed in range(3):
        windows = contexts(24, seed)
        names = np.random.default_rng(seed).choice(NAMES, size=24).tolist()
        expected = one_by_one(host, windows, names)
        close(forward.probabilities(windows, names), expected)
        assert not torch.allclose(expected, one_by_one(host, windows, [NAMES[0]] * 24), atol=1e-3)


def test_a_mixed_pass_reads_dislikes_as_peft_does() -> None:
    host, forward = pair("causal_lm_examples", AdapterSettings())
    windows, names = contexts(24, 0), [NAMES[i % 7] for i in range(24)]
    signed = np.where(np.random.default_rng(0).random(windows.shape) < 0.4, -windows, windows)
    expected = one_by_one(host, signed, names)
    close(forward.probabilities(signed, names), expected)
    torch.testing.assert_close(forward.states(signed), host.states(signed, None), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(expected, one_by_one(host, windows, names), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_between_passes_the_backbone_is_as_it_was_set_up(kind: str) -> None:
    host, forward = pair(kind, AdapterSettings())
    windows = contexts(16, 4)
    for _ in range(2):
        states = forward.states(windows)
        torch.testing.assert_close(states, host.states(windows, None), rtol=1e-5, atol=1e-6)
        close(forward.alone(states), next_item_probabilities(host, windows, None, ALL))
        forward.probabilities(windows, [NAMES[i % 7] for i in range(16)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_position_alone_is_that_of_all(kind: str) -> None:
    backbone = small_backbone(kind)
    windows = torch.from_numpy(contexts(16, 5))
    with torch.inference_mode():
        vectors = backbone.items.all()
        torch.testing.assert_close(
            backbone.last(windows, vectors), backbone.hidden(windows, vectors)[:, -1], rtol=1e-5, atol=1e-6
        )


def test_an_answer_does_not_depend_on_the_company_it_comes_in() -> None:
    _, forward = pair("sasrec", AdapterSettings())
    windows = contexts(20, 6)
    names = [NAMES[i % 7] for i in range(20)]
    together = forward.probabilities(windows, names).clone()
    order = np.random.default_rng(0).permutation(20)
    shuffled = forward.probabilities(windows[order], [names[i] for i in order])
    close(shuffled, together[torch.from_numpy(order)])
    alone = [forward.probabilities(windows[i : i + 1], names[i : i + 1]).clone() for i in range(20)]
    close(torch.cat(alone), together)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_batch_of_more_regions_than_slots_is_answered_all_the_same(slots: int) -> None:
    host, forward = pair("sasrec", AdapterSettings(), budget=slots * SLOT)
    windows, names = contexts(21, 7), [NAMES[(3 * i) % 7] for i in range(21)]
    close(forward.probabilities(windows, names), one_by_one(host, windows, names))
    assert len(forward.slots.active) == slots
    assert forward.slots.evictions > 0


def region(region_id: int, place: int, adapter: str | None, adapter_weight: float) -> Region:
    origin = Origin.BASE if place < 2 else Origin.STREAM
    return Region(
        region_id,
        0,
        Status.LIVE,
        origin,
        None,
        np.eye(9)[place],
        0.5,
        20.0,
        0.5,
        adapter,
        adapter_weight=adapter_weight,
    )


def a_bank() -> RegionBank:
    opened = [region(i + 3, i + 2, name, 0.4 + 0.1 * i) for i, name in enumerate(NAMES)]
    ids = [r.region_id for r in opened]
    return RegionBank((region(1, 0, None, 1.0), region(2, 1, None, 1.0), *opened), origins(*ids))


def routes(n: int) -> np.ndarray:
    """Routes of the backbone alone, of one region, and of several."""
    route = np.random.default_rng(0).dirichlet(np.full(8, 0.2), size=n)
    route[route < 0.1] = 0.0
    route[0] = np.eye(8)[0]
    route[1] = np.eye(8)[3]
    return route / route.sum(axis=1, keepdims=True)


def mixed(forward: BatchedForward, windows: np.ndarray, shares: np.ndarray, bank: RegionBank) -> Mixture:
    return BatchedBackend(forward).mixed(forward.states(windows), windows, shares, bank.adapters, ALL)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most_rows", [512, 7])
def test_a_route_is_mixed_as_in_routing(kind: str, most_rows: int) -> None:
    host, forward = pair(kind, AdapterSettings())
    forward.most_rows = most_rows
    bank, windows = a_bank(), contexts(40, 8)
    shares = bank.shares(routes(40))
    found = torch.from_numpy(mixed(forward, windows, shares, bank).scores.probabilities)
    close(found, mixed_probabilities(host, windows, shares, bank.adapters, ALL))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(40))
    assert (found[:, 0] == 0).all()


def test_the_backbone_stands_in_for_what_is_missing_and_says_so() -> None:
    host, forward = pair("sasrec", AdapterSettings())
    host.drop(NAMES[2])
    assert forward.drop(NAMES[2])
    bank, windows, route = a_bank(), contexts(40, 9), routes(40)
    shares = bank.shares(route)
    found = mixed(forward, windows, shares, bank)
    assert found.fallback.tolist() == (route[:, 3] > 0).tolist()
    assert 0 < found.fallback.sum() < 40
    close(torch.from_numpy(found.scores.probabilities), mixed_probabilities(host, windows, shares, bank.adapters, ALL))
    by_host = HostBackend(host).mixed(host.states(windows, None), windows, shares, bank.adapters, ALL)
    assert np.array_equal(by_host.fallback, found.fallback)
    np.testing.assert_allclose(found.scores.probabilities, by_host.scores.probabilities, rtol=1e-3, atol=1e-6)


def test_windows_without_adapters_do_not_see_that_one_changes() -> None:
    host, forward = pair("sasrec", AdapterSettings())
    bank, windows, route = a_bank(), contexts(40, 10), routes(40)
    shares = bank.shares(route)
    before = torch.from_numpy(mixed(forward, windows, shares, bank).scores.probabilities)
    forward.drop(NAMES[2])
    randomise(host, "r0005_v0002", 11)
    forward.register(NAMES[2], host.tensors("r0005_v0002"), host.rows("r0005_v0002"))
    after = torch.from_numpy(mixed(forward, windows, shares, bank).scores.probabilities)
    untouched = torch.from_numpy(shares[:, 3] == 0.0)
    close(after[untouched], before[untouched])
    assert not torch.allclose(after[~untouched], before[~untouched], atol=1e-3)


# --- registered and active --------------------------------------------------------------------------------


def test_registering_and_dropping_say_whether_anything_changed() -> None:
    host, forward = pair("sasrec", AdapterSettings())
    assert not forward.register(NAMES[0], host.tensors(NAMES[0]), host.rows(NAMES[0]))
    assert forward.drop(NAMES[0])
    assert not forward.drop(NAMES[0])
    assert NAMES[0] not in forward.names


def test_the_least_recently_used_makes_room_and_comes_back_the_same() -> None:
    _, forward = pair("sasrec", AdapterSettings(), budget=2 * SLOT)
    windows = contexts(4, 11)

    def ask(name: str) -> torch.Tensor:
        return forward.probabilities(windows, [name] * 4).clone()

    first = ask(NAMES[0])
    ask(NAMES[1])
    ask(NAMES[0])
    assert forward.slots.active == [NAMES[1], NAMES[0]]
    ask(NAMES[2])
    assert forward.slots.active == [NAMES[0], NAMES[2]]
    ask(NAMES[1])
    assert torch.equal(ask(NAMES[0]), first)
    assert forward.slots.evictions == 3


def test_memory_is_what_is_registered_and_a_bounded_number_of_slots() -> None:
    _, forward = pair("sasrec", AdapterSettings(), budget=2 * SLOT)
    registered = forward.slots.bytes
    for i in range(50):
        forward.probabilities(contexts(4, i), [NAMES[i % 7]] * 4)
        assert forward.slots.bytes <= registered + 2 * SLOT
    forward.drop(NAMES[0])
    assert forward.slots.bytes < registered + 2 * SLOT


def test_who_moved_many_items_takes_the_room_of_several() -> None:
    host, forward = pair("sasrec", AdapterSettings(), budget=3 * SLOT)
    large = "r0030_v0001"
    randomise(host, large, 12, moved=ITEMS)
    assert slot(ITEMS) > SLOT
    forward.register(large, host.tensors(large), host.rows(large))
    names = [NAMES[0], NAMES[1], NAMES[2], large]
    windows = contexts(8, 12)
    forward.probabilities(windows[:3], names[:3])
    assert forward.slots.active == names[:3]
    close(forward.probabilities(windows, names * 2), one_by_one(host, windows, names * 2))
    assert large in forward.slots.active
    assert len(forward.slots.active) < 4
    registered = sum(factors.bytes for factors in forward.slots._registered.values())
    assert forward.slots.bytes <= registered + 3 * SLOT


def test_what_an_adapter_leaves_behind_is_anothers() -> None:
    """Over and over, in room for two: rows of the table that are never given back would run out."""
    host, forward = pair("sasrec", AdapterSettings(), budget=2 * SLOT)
    for i in range(60):
        name, windows = NAMES[i % 7], contexts(4, i)
        close(forward.probabilities(windows, [name] * 4), one_by_one(host, windows, [name] * 4))
        if i % 3 == 0:
            assert forward.drop(name)
            assert forward.register(name, host.tensors(name), host.rows(name))


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "rows"])
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_registered(change: str) -> None:
    host, forward = pair("sasrec", AdapterSettings())
    tensors, rows = dict(host.tensors(NAMES[3])), host.rows(NAMES[3])
    key = min(tensors)
    if change == "missing":
        del tensors[key]
    elif change == "unknown":
        tensors["blocks.9.lora_A.weight"] = tensors[key]
    elif change == "shape":
        tensors[key] = tensors[key][:1]
    else:
        rows[-1] = ITEMS + 1
    before = set(forward.names)
    with pytest.raises(AdapterRefused, match="wrong_tensors"):
        forward.register("r0020_v0001", tensors, rows)
    assert set(forward.names) == before


def injected(rows: Sequence[int], seed: int = 5) -> InjectedItems:
    vectors = np.random.default_rng(seed).normal(size=(len(rows), 16)).astype(np.float32)
    return InjectedItems(tuple(f"i{row:02}" for row in rows), vectors)


ROW_OF = {f"i{row:02}": row for row in range(1, ITEMS + 1)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [0, 6])
def test_injected_items_are_scored_alike_and_windows_read_as_before(kind: str, text: int) -> None:
    host, forward = pair(kind, AdapterSettings(), text)
    windows = contexts(24, 1)
    names = [NAMES[i % 7] for i in range(24)]
    states, before = host.states(windows, None), one_by_one(host, windows, names)
    forward.probabilities(windows, names)  # Some adapters are active when the items come, and some are not.
    for rows in ([3, 11], [11, 4, 2], []):
        items = injected(rows)
        host.inject(items, ROW_OF)
        forward.inject(rows, torch.from_numpy(items.vectors))
        torch.testing.assert_close(host.states(windows, None), states)
        close(forward.probabilities(windows, names), one_by_one(host, windows, names))
        close(forward.alone(forward.states(windows)), next_item_probabilities(host, windows, None, ALL))
        assert torch.allclose(one_by_one(host, windows, names), before, atol=1e-6) == (not rows)


def test_an_adapters_own_row_takes_precedence_over_an_injected_one() -> None:
    host, forward = pair("sasrec", AdapterSettings())
    name, windows = NAMES[4], contexts(8, 2)
    own = host.rows(name)
    before = host.logits(host.states(windows, name), name, ITEMS)
    others = [row for row in range(1, ITEMS + 1) if row not in own]
    items = injected([*own, others[0]])
    host.inject(items, ROW_OF)
    forward.inject([*own, others[0]], torch.from_numpy(items.vectors))
    after = host.logits(host.states(windows, name), name, ITEMS)
    torch.testing.assert_close(after[:, own], before[:, own])
    assert (after[:, others[0]] - before[:, others[0]]).abs().min() > 1e-3
    close(forward.probabilities(windows, [name] * 8), one_by_one(host, windows, [name] * 8))


def test_an_item_that_is_injected_before_it_has_a_row_gets_its_vector_with_the_row() -> None:
    host, _ = pair("sasrec", AdapterSettings())
    catalogue = OpenCatalogue(small_catalogue(), None)
    host.follow(catalogue)
    windows = contexts(8, 3)
    states = host.states(windows, None)
    items = InjectedItems(("late",), np.ones((1, 16), dtype=np.float32))
    host.inject(items, catalogue.row_of)
    row = catalogue.add("late")
    host.follow(catalogue)
    logits = host.logits(states, None, row)
    close(logits[:, row], states[:, -1].sum(dim=1))
