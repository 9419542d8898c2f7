"""Items that arrive and leave between two passes: the same answers as made anew over the changed catalogue."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from adapters_store.errors import AdapterRefused
from pipeline.config import AdapterSettings
from pipeline.models.backbones.base import Backbone
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.factors import Tensors
from pipeline.models.lora.host import AdapterHost
from tests.models.backbones.small import ITEMS, KINDS, LENGTH, TEXT, WORDS, small_backbone
from tests.models.lora.test_batched_forward import AMPLE, NAMES, SLOT, randomise

ROWS = "base_model.model.items.rows.token_adapter.trainable_tokens_delta"

Adapters = dict[str, tuple[Tensors, list[int]]]


def some_adapters(backbone: Backbone, moved: int | None = None) -> Adapters:
    host = AdapterHost(copy.deepcopy(backbone), AdapterSettings())
    for seed, name in enumerate(NAMES):
        randomise(host, name, seed, moved)
    return {name: (host.tensors(name), host.rows(name)) for name in NAMES}


def without(adapters: Adapters, rows: Sequence[int]) -> Adapters:
    """The adapters without their moves of some rows."""
    fewer: Adapters = {}
    for name, (tensors, moved) in adapters.items():
        kept = [i for i, row in enumerate(moved) if row not in rows]
        fewer[name] = {**tensors, ROWS: tensors[ROWS][kept]}, [moved[i] for i in kept]
    return fewer


def forward_of(backbone: Backbone, adapters: Adapters, budget: int = AMPLE) -> BatchedForward:
    made = BatchedForward(copy.deepcopy(backbone), AdapterSettings(), budget)
    for name, (tensors, rows) in adapters.items():
        assert made.register(name, tensors, rows)
    return made


def change(backbone: Backbone, items: int, rows: Sequence[int], freed: Sequence[int] = ()) -> None:
    """Give rows texts that depend on nothing but the row and the number of items, and take theirs from freed rows."""
    table = backbone.items
    table.resize(items)
    for row in rows:
        rng = np.random.default_rng([items, row])
        vector = torch.from_numpy(rng.normal(size=table.text.shape[1]).astype(np.float32))
        backbone.set_item(row, WORDS[(items + row) % len(WORDS)], vector, keep_row=True)
    for row in freed:
        table.set(row, None, None)


def contexts(n: int, items: int, seed: int = 0) -> np.ndarray:
    """Windows that begin with padding, and hold newest items most of all."""
    rows = np.minimum(np.random.default_rng(seed).integers(1, 2 * items, size=(n, LENGTH)), items)
    return np.where(np.arange(LENGTH) < np.arange(n)[:, None] % LENGTH, 0, rows)


def answers(forward: BatchedForward, items: int) -> torch.Tensor:
    """(2 n, items + 1) probabilities of n windows by adapters, and by the backbone alone."""
    windows = contexts(21, items)
    by_adapters = forward.probabilities(windows, [NAMES[i % 7] for i in range(21)]).clone()
    return torch.cat([by_adapters, forward.alone(forward.states(windows))])


def assert_alike(found: BatchedForward, expected: BatchedForward, items: int) -> None:
    assert found.vectors.shape[0] == items + 1
    torch.testing.assert_close(found.vectors, expected.vectors, rtol=0.0, atol=1e-6)
    torch.testing.assert_close(answers(found, items), answers(expected, items), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("text", [0, TEXT])
@pytest.mark.parametrize("kind", KINDS)
def test_arrivals_are_scored_as_if_they_had_always_been_there(kind: str, text: int) -> None:
    """One into room that tables have anyway, many beyond it, then one into the slack; in between, passes."""
    backbone = small_backbone(kind, text_dimensions=text)
    adapters = some_adapters(backbone)
    forward = forward_of(backbone, adapters)
    answers(forward, ITEMS)
    tables, known = [], ITEMS
    for items in (ITEMS + 1, 300, 301):
        for each in (backbone, forward.backbone):
            change(each, items, range(known + 1, items + 1))
        forward.set_items(items, range(known + 1, items + 1))
        assert_alike(forward, forward_of(backbone, adapters), items)
        tables.append((forward.vectors.data_ptr(), forward.slots.texts.data_ptr()))
        known = items
    assert tables[1] == tables[2], "an arrival within the slack copies no table"


def test_adapters_that_come_to_a_grown_catalogue_move_its_items_and_no_others() -> None:
    backbone = small_backbone("sasrec")
    forward = forward_of(backbone, {})
    for each in (backbone, forward.backbone):
        change(each, 20, range(ITEMS + 1, 21))
    moved = {name: (tensors, [20]) for name, (tensors, _) in some_adapters(backbone, moved=1).items()}
    with pytest.raises(AdapterRefused, match="outside the catalogue of 12 items"):
        forward.register(NAMES[0], *moved[NAMES[0]])
    forward.set_items(20, range(ITEMS + 1, 21))
    for name, (tensors, rows) in moved.items():
        forward.register(name, tensors, rows)
    assert_alike(forward, forward_of(backbone, moved), 20)


def test_a_row_with_another_text_is_read_and_scored_by_it_and_keeps_its_moves() -> None:
    backbone = small_backbone("sasrec")
    with torch.no_grad():
        backbone.items.rows.weight[5] = 0.0
    adapters = some_adapters(backbone, moved=ITEMS)
    forward = forward_of(backbone, adapters)
    before = answers(forward, ITEMS)
    for each in (backbone, forward.backbone):
        change(each, ITEMS, [5])
    forward.set_items(ITEMS, [5])
    assert_alike(forward, forward_of(backbone, adapters), ITEMS)
    assert (answers(forward, ITEMS) - before).abs().max() > 1e-3


@pytest.mark.parametrize("active", [True, False])
def test_a_reused_row_is_moved_by_no_adapter_that_moved_its_former_item(active: bool) -> None:
    backbone = small_backbone("sasrec")
    adapters = some_adapters(backbone)
    forward = forward_of(backbone, adapters)
    if active:
        answers(forward, ITEMS)
    # All that one adapter moves, and some of what others move.
    rows = sorted({*adapters[NAMES[0]][1], *adapters[NAMES[4]][1][:2]})
    assert without(adapters, rows)[NAMES[0]][1] == []
    assert without(adapters, rows)[NAMES[4]][1] != []
    for each in (backbone, forward.backbone):
        change(each, ITEMS, rows)
    forward.set_items(ITEMS, rows)
    forward.forget_moves(rows)
    expected = forward_of(backbone, without(adapters, rows))
    assert_alike(forward, expected, ITEMS)
    assert not torch.allclose(answers(forward, ITEMS), answers(forward_of(backbone, adapters), ITEMS), atol=1e-3)
    assert forward.slots.bytes == expected.slots.bytes


def test_moves_that_were_forgotten_leave_room_for_others() -> None:
    """Over and over, in room for one adapter: rows of the table that are never given back would run out."""
    backbone = small_backbone("sasrec")
    adapters = some_adapters(backbone, moved=ITEMS)
    forward = forward_of(backbone, adapters, budget=1)
    rows = range(1, ITEMS, 2)
    for _ in range(5):
        answers(forward, ITEMS)
        forward.forget_moves(rows)
        assert_alike(forward, forward_of(backbone, without(adapters, rows)), ITEMS)
        for name, (tensors, moved) in adapters.items():
            assert forward.drop(name)
            assert forward.register(name, tensors, moved)


def test_one_adapter_has_room_for_moves_of_every_item_of_a_grown_catalogue() -> None:
    backbone = small_backbone("sasrec")
    forward = forward_of(backbone, some_adapters(backbone), budget=1)
    answers(forward, ITEMS)
    for each in (backbone, forward.backbone):
        change(each, 100, range(ITEMS + 1, 101))
    forward.set_items(100, range(ITEMS + 1, 101))
    own = np.random.default_rng(0).normal(size=(100, backbone.items.rows.embedding_dim)).astype(np.float32)
    moving_all = {n: ({**t, ROWS: own}, list(range(1, 101))) for n, (t, _) in some_adapters(backbone, 1).items()}
    for name, (tensors, rows) in moving_all.items():
        assert forward.drop(name)
        assert forward.register(name, tensors, rows)
    assert_alike(forward, forward_of(backbone, moving_all), 100)


def test_a_catalogue_that_grows_leaves_room_for_fewer_active_adapters() -> None:
    backbone = small_backbone("sasrec")
    adapters = some_adapters(backbone)
    forward = forward_of(backbone, adapters, budget=3 * SLOT)
    forward.probabilities(contexts(3, ITEMS), NAMES[:3])
    registered = sum(factors.bytes for factors in forward.slots._registered.values())
    for each in (backbone, forward.backbone):
        change(each, 100, range(ITEMS + 1, 101))
    forward.set_items(100, range(ITEMS + 1, 101))
    assert forward.slots.active == list(NAMES[1:3]), "the least recently used makes room"
    assert forward.slots.bytes <= registered + 3 * SLOT
    assert_alike(forward, forward_of(backbone, adapters), 100)
    assert forward.slots.bytes <= registered + 3 * SLOT


def test_hidden_items_have_no_probability_and_the_others_share_it() -> None:
    backbone = small_backbone("sasrec")
    forward = forward_of(backbone, some_adapters(backbone))
    before = answers(forward, ITEMS)
    hidden = torch.zeros(ITEMS + 1, dtype=torch.bool)
    hidden[[3, 8]] = True
    forward.hide(hidden)
    found = answers(forward, ITEMS)
    assert (found[:, [0, 3, 8]] == 0.0).all()
    shared = before.masked_fill(hidden, 0.0)
    torch.testing.assert_close(found, shared / shared.sum(dim=1, keepdim=True))
    forward.hide(torch.zeros(ITEMS + 1, dtype=torch.bool))
    assert torch.equal(answers(forward, ITEMS), before)


def test_what_is_hidden_stays_so_when_items_arrive() -> None:
    backbone = small_backbone("sasrec")
    forward = forward_of(backbone, some_adapters(backbone))
    hidden = torch.zeros(ITEMS + 1, dtype=torch.bool)
    hidden[4] = True
    forward.hide(hidden)
    change(forward.backbone, 40, range(ITEMS + 1, 41))
    forward.set_items(40, range(ITEMS + 1, 41))
    found = answers(forward, 40)
    assert (found[:, [0, 4]] == 0.0).all()
    assert (found[:, ITEMS + 1 :] > 0.0).all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(found)))


def test_injected_vectors_follow_rows_that_change_as_if_all_were_injected_anew() -> None:
    """Rows that change lose their injected vectors; those that are given back, and all others, are as made anew."""
    backbone = small_backbone("sasrec")
    adapters = some_adapters(backbone, moved=ITEMS)
    forward = forward_of(backbone, adapters)
    answers(forward, ITEMS)
    vectors = torch.from_numpy(np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32))
    forward.inject([2, 5, 9], vectors[[2, 5, 9]])
    injected, known = {2, 5, 9}, ITEMS
    # Changed rows, those among them whose item is injected, and the highest row.
    for changed, given, items in (([5], [5], ITEMS), ([9, 3], [3], ITEMS), ([14], [14], 20), ([5, 250], [], 280)):
        for each in (backbone, forward.backbone):
            change(each, items, [*changed, *range(known + 1, items + 1)])
        forward.set_items(items, changed)
        forward.inject_more(given, vectors[given])
        injected, known = (injected - set(changed)) | set(given), items
        expected = forward_of(backbone, adapters)
        expected.inject(sorted(injected), vectors[sorted(injected)])
        assert_alike(forward, expected, items)
    forward.inject([], vectors[:0])
    assert_alike(forward, forward_of(backbone, adapters), known)
