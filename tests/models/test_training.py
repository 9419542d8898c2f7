"""Training: the loss it claims, the same bytes for the same seed, and nothing else moved."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.models.backbones.base import Backbone, fingerprint, last_states
from pipeline.models.seeding import seeded
from pipeline.models.training.loop import fit, known_rows
from pipeline.models.training.loss import Candidates, next_item_loss
from tests.models.backbones.small import (
    CONTEXTS,
    ITEMS,
    KINDS,
    scores,
    small_backbone,
    successor_windows,
    windows_of,
)

ROWS = torch.arange(1, ITEMS + 1)
TARGETS = torch.tensor([3, 4, 9, 1])


def train(model: Backbone, seed: int = 0, epochs: int = 3, **options: object) -> int:
    groups = [{"params": list(model.parameters()), "lr": 1e-2}]
    given = {"candidates": Candidates(ROWS), "epochs": epochs, "batch_size": 16, "seed": seed, **options}
    return fit(model, successor_windows(96, seed=1), groups, **given)  # type: ignore[arg-type]


def loss_of(model: Backbone) -> float:
    windows = successor_windows(64, seed=2)
    contexts, targets = torch.from_numpy(windows.contexts), torch.from_numpy(windows.targets)
    with torch.inference_mode():
        return float(next_item_loss(model, contexts, targets, ROWS))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_cross_entropy_of_the_full_softmax(kind: str) -> None:
    model = small_backbone(kind)
    full = functional.cross_entropy(scores(model, CONTEXTS)[:, 1:], TARGETS - 1)
    with torch.inference_mode():
        torch.testing.assert_close(next_item_loss(model, CONTEXTS, TARGETS, ROWS), full, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("few", [[1, 3, 4, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9, 12]], ids=["fewer than are read", "those"])
@torch.inference_mode()
def test_a_softmax_over_fewer_rows_leaves_the_others_out(few: list[int]) -> None:
    model = small_backbone("sasrec")
    rows = torch.tensor(few)
    states, vectors = model(CONTEXTS)
    among = last_states(states) @ vectors[rows].T
    expected = functional.cross_entropy(among, torch.tensor([few.index(target) for target in TARGETS.tolist()]))
    torch.testing.assert_close(next_item_loss(model, CONTEXTS, TARGETS, rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_a_learnable_toy(kind: str) -> None:
    model = small_backbone(kind)
    before = loss_of(model)
    train(model, epochs=8)
    assert loss_of(model) < min(0.5 * before, math.log(ITEMS))
    assert not model.training


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_every_byte(kind: str) -> None:
    first, again, other = (small_backbone(kind) for _ in range(3))
    train(first, seed=4)
    torch.rand(7)
    train(again, seed=4)
    train(other, seed=5)
    assert fingerprint(first, "") == fingerprint(again, "") != fingerprint(other, "")


def test_only_the_given_parameters_move() -> None:
    model = small_backbone("sasrec")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    windows = successor_windows(32, seed=1)
    groups = [{"params": [model.items.rows.weight], "lr": 1e-2}]
    fit(model, windows, groups, Candidates(ROWS), epochs=1, batch_size=8, seed=0)
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["items.rows.weight"]


def test_the_cost_counts_windows_and_passes() -> None:
    assert train(small_backbone("sasrec"), epochs=3) == 3 * 96
    stops = itertools.chain([True, False], itertools.repeat(True))
    assert train(small_backbone("sasrec"), epochs=5, after_epoch=lambda _: next(stops)) == 2 * 96


def test_progress_is_told_batch_by_batch_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    train(small_backbone("sasrec"), epochs=2, on_batch=lambda done, whole: told.append((done, whole)))
    assert told == [(i, 12) for i in range(1, 13)]


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    train(small_backbone("sasrec"), epochs=1)
    with seeded(3) as generator:
        torch.rand(2)
        torch.rand(2, generator=generator)
    assert torch.equal(torch.rand(3), expected)


def test_a_full_draw_holds_all_rows_and_every_target() -> None:
    rows, log_weights = Candidates(torch.tensor([2, 5])).draw(torch.tensor([7, 2]), torch.Generator())
    assert rows.tolist() == [2, 5, 7]
    assert log_weights is None


def test_a_sampled_draw_is_sorted_unique_and_holds_every_target() -> None:
    candidates = Candidates(torch.arange(1, 1001), 50)
    rows, log_weights = candidates.draw(torch.tensor([999, 3]), torch.Generator().manual_seed(0))
    assert log_weights is not None
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert {3, 999} <= set(rows.tolist())
    drawn = log_weights > -math.inf
    assert drawn.sum() <= 50
    torch.testing.assert_close(log_weights[drawn].exp().sum(), torch.tensor(1000.0))


@torch.inference_mode()
@pytest.mark.parametrize("sampled", [60, 700])
def test_the_partition_of_the_sampled_softmax_is_that_of_the_full_one_on_average(sampled: int) -> None:
    items = 1500
    model = small_backbone("sasrec")
    model.items.rows.weight.data = 0.25 * torch.randn(items + 1, 16, generator=torch.Generator().manual_seed(1))
    model.items.text = torch.zeros(items + 1, model.items.text.shape[1])
    candidates, generator = Candidates(torch.arange(1, items + 1), sampled), torch.Generator().manual_seed(0)
    # The likeliest item is the target of another window of the batch: it must not be counted in every draw.
    targets = torch.tensor([3, int(scores(model, CONTEXTS[:1]).argmax())])
    contexts = CONTEXTS[[0, 0]]

    def partition(rows: torch.Tensor, log_weights: torch.Tensor | None) -> float:
        """Partition function over the target's own weight, of the first window."""
        loss = next_item_loss(model, contexts[:1], targets[:1], rows, log_weights)
        return float(loss.exp())

    full = partition(candidates.rows, None)
    drawn = [partition(*candidates.draw(targets, generator)) for _ in range(600)]
    error = float(np.std(drawn)) / math.sqrt(len(drawn))
    assert error < 0.02 * full
    assert abs(np.mean(drawn) - full) < 3.5 * error


def test_sampled_training_learns_the_toy_too() -> None:
    model = small_backbone("sasrec")
    before = loss_of(model)
    train(model, epochs=8, candidates=Candidates(ROWS, 6))
    assert loss_of(model) < 0.5 * before


def test_known_rows_are_sorted_and_without_padding() -> None:
    contexts = np.array([[0, 0, 4], [0, 2, 4]])
    assert known_rows(contexts, np.array([9, 2])).tolist() == [2, 4, 9]


def test_windows_of_items_that_nobody_may_answer_are_still_learned() -> None:
    windows = windows_of(np.array([[0, 0, 0, 1, 2]]), np.array([11]))
    model = small_backbone("sasrec")
    groups = [{"params": list(model.parameters()), "lr": 1e-2}]
    before = scores(model, CONTEXTS[1:2])[0, 11]
    fit(model, windows, groups, Candidates(torch.tensor([1, 2])), epochs=3, batch_size=4, seed=0)
    assert scores(model, CONTEXTS[1:2])[0, 11] != before
