"""Training loop of set-up and of every edit."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone
from pipeline.models.seeding import seeded
from pipeline.models.training.loss import Batch, Candidates, Loss, cross_entropy_of

Progress = Callable[[int, int], None]
"""Called with (batches done, batches in all)."""


class Checkpoints(Protocol):
    """State of a training after each of its epochs, outside the process."""

    def restore(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> int:
        """Put everything back as it was after the last epoch that was saved.

        Returns:
            The number of that epoch; 0 where none was saved, and nothing is changed.
        """

    def save(self, epoch: int, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Save the state after an epoch, in place of the one before."""


def fit(
    model: Backbone,
    windows: Windows,
    groups: Sequence[dict[str, Any]],
    candidates: Candidates,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    epsilon: float = 1e-8,
    on_batch: Progress | None = None,
    after_epoch: Callable[[int], bool] | None = None,
    loss_of: Loss = cross_entropy_of,
    accumulation: int = 1,
    checkpoints: Checkpoints | None = None,
) -> int:
    """Train the given parameters on windows.

    Args:
        model: left in evaluation mode.
        windows: to learn, each once an epoch, in an order that depends on the seed.
        groups: parameter groups for Adam, each with its `lr`.
        candidates: the rows of the softmax.
        epochs: passes over the windows, at most.
        batch_size: windows of a step.
        seed: for the order of the windows, the negatives and dropout.
        epsilon: of Adam. Steps are proportional to gradients that are much smaller than it.
        on_batch: receives the progress.
        after_epoch: called with the number of each finished epoch (1 ...); training stops where it returns False.
        loss_of: loss of a batch.
        accumulation: parts of a batch, whose gradients are added before the step.
        checkpoints: saved after each epoch but the last; the training goes on from the one found there.

    Returns:
        Windows trained on, counting each pass.
    """
    optimizer = torch.optim.Adam(groups, eps=epsilon, fused=True)
    parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
    contexts, targets = model.windows(windows.contexts), model.windows(windows.targets)
    batches = math.ceil(len(windows) / batch_size)
    with seeded(seed) as generator:
        done = checkpoints.restore(optimizer, generator) if checkpoints else 0
        for epoch in range(done + 1, epochs + 1):
            model.train()
            order = torch.randperm(len(windows), generator=generator).to(targets.device)
            for i, chosen in enumerate(order.split(batch_size)):
                rows, log_weights = candidates.draw(targets[chosen], generator)
                optimizer.zero_grad()
                for part in chosen.tensor_split(min(accumulation, len(chosen))):
                    loss = loss_of(model, Batch(part, contexts[part], targets[part], rows, log_weights))
                    (loss * (len(part) / len(chosen))).backward()
                _step(optimizer, parameters)
                if on_batch:
                    on_batch((epoch - 1) * batches + i + 1, epochs * batches)
            model.eval()  # type: ignore[no-untyped-call]
            if after_epoch and not after_epoch(epoch):
                return epoch * len(windows)
            if checkpoints:
                checkpoints.save(epoch, optimizer, generator)
    return epochs * len(windows)


def _step(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
    """Update the parameters by their gradients, clipped to norm 5."""
    nn.utils.clip_grad_norm_(parameters, 5.0)
    optimizer.step()


def known_rows(contexts: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted catalogue rows that occur in windows, without padding."""
    rows = np.unique(np.concatenate([contexts.ravel(), targets]))
    return rows[rows > 0]
