"""Loss with a teacher: where it is least, and what it does not depend on."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.models.backbones.base import Backbone
from pipeline.models.training.distillation import loss_with
from pipeline.models.training.loop import fit
from pipeline.models.training.loss import Batch, Candidates, cross_entropy_of
from tests.models.backbones.small import ITEMS, small_backbone, successor_windows

WINDOWS = successor_windows(200, 0)
UNKNOWN = (ITEMS - 1, ITEMS)


class Fixed:
    """A teacher with random logits, which does not know two items."""

    def __init__(self) -> None:
        self.logits = torch.randn(len(WINDOWS), ITEMS + 1, generator=torch.Generator().manual_seed(0))

    def among(self, windows: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        known = (~torch.isin(rows, torch.tensor(UNKNOWN))).nonzero().squeeze(1)
        return known, self.logits[windows][:, rows[known]]


class Nothing:
    """A teacher that knows no item."""

    def among(self, windows: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return rows.new_zeros(0), torch.zeros(len(windows), 0)


def batch_of(model: Backbone, windows: int = 40, log_weights: Tensor | None = None) -> Batch:
    contexts, targets = model.windows(WINDOWS.contexts[:windows]), model.windows(WINDOWS.targets[:windows])
    return Batch(torch.arange(windows), contexts, targets, torch.arange(1, ITEMS + 1), log_weights)


def logits_of(model: Backbone) -> Tensor:
    vectors = model.items.all()
    return model.last(model.windows(WINDOWS.contexts), vectors) @ vectors.T


def test_a_student_without_targets_takes_over_the_probabilities_of_items_that_the_teacher_knows() -> None:
    model, teacher = small_backbone("sasrec"), Fixed()
    known = torch.arange(1, UNKNOWN[0])
    # One teacher's answer for all windows: what can be learned by heart.
    teacher.logits[:] = teacher.logits[0]
    rows = Candidates(torch.arange(1, ITEMS + 1))
    groups = [{"params": list(model.parameters()), "lr": 0.02}]
    loss = loss_with(teacher, 1.0, 1.0)
    fit(model, WINDOWS, groups, rows, epochs=60, batch_size=50, seed=0, loss_of=loss)
    with torch.inference_mode():
        found = logits_of(model)[:, known].softmax(dim=1)
    expected = teacher.logits[:, known].softmax(dim=1)
    assert (found - expected).abs().max() < 0.05 < (expected - 1 / len(known)).abs().max()


def test_a_teacher_says_nothing_of_an_item_that_it_does_not_know() -> None:
    model, teacher = small_backbone("sasrec").train(), Fixed()
    batch = batch_of(model)
    losses, gradients = [], []
    for moved in (0.0, 5.0):
        with torch.no_grad():
            model.items.rows.weight[list(UNKNOWN)] += moved
        # Only windows without them, whose states depend on them.
        free = ~torch.isin(batch.contexts, torch.tensor(UNKNOWN)).any(dim=1)
        part = Batch(batch.indices[free], batch.contexts[free], batch.targets[free], batch.rows)
        model.zero_grad()
        torch.manual_seed(0)
        loss = loss_with(teacher, 1.0, 2.0)(model, part)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(model.items.rows.weight.grad[list(UNKNOWN)].abs().max())
    assert losses[0] == losses[1] > 0.0
    assert gradients == [0.0, 0.0]


def test_it_is_the_mean_of_both_losses() -> None:
    model, teacher = small_backbone("sasrec").eval(), Fixed()
    batch = batch_of(model)
    with torch.no_grad():
        targets = cross_entropy_of(model, batch)
        distilled, both, none = (loss_with(teacher, weight, 3.0)(model, batch) for weight in (1.0, 0.25, 0.0))
        unknown = loss_with(Nothing(), 0.25, 3.0)(model, batch)
    assert both == pytest.approx(float(0.75 * targets + 0.25 * distilled), rel=1e-5)
    assert none == pytest.approx(float(targets), rel=1e-6)
    assert unknown == pytest.approx(float(0.75 * targets), rel=1e-6)


def test_sampled_negatives_leave_it_finite_and_least_at_the_teacher() -> None:
    model, teacher = small_backbone("sasrec").eval(), Fixed()
    weights = torch.full((ITEMS,), 1.5)
    weights[::3] = -torch.inf
    with torch.no_grad():
        teacher.logits = logits_of(model)
        same = loss_with(teacher, 1.0, 1.0)(model, batch_of(model, log_weights=weights))
        teacher.logits = teacher.logits + torch.randn_like(teacher.logits)
        other = loss_with(teacher, 1.0, 1.0)(model, batch_of(model, log_weights=weights))
    assert abs(float(same)) < 1e-5 and np.isfinite(float(other)) and other > 0.05
