"""Training loop of set-up and of every edit."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone
from pipeline.models.seeding import seeded
from pipeline.models.training.loss import Batch, Candidates, Loss, cross_entropy_of

Progress = Callable[[int, int], None]
"""Called with (batches done, batches in all)."""


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

    Returns:
        Windows trained on, counting each pass.
    """
    optimizer = torch.optim.Adam(groups, eps=epsilon, fused=True)
    parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
    contexts, targets = model.windows(windows.contexts), model.windows(windows.targets)
    batches = math.ceil(len(windows) / batch_size)
    with seeded(seed) as generator:
        for epoch in range(1, epochs + 1):
            model.train()
            order = torch.randperm(len(windows), generator=generator).to(targets.device)
            for i, chosen in enumerate(order.split(batch_size)):
                rows, log_weights = candidates.draw(targets[chosen], generator)
                loss = loss_of(model, Batch(chosen, contexts[chosen], targets[chosen], rows, log_weights))
                _step(optimizer, parameters, loss)
                if on_batch:
                    on_batch((epoch - 1) * batches + i + 1, epochs * batches)
            model.eval()  # type: ignore[no-untyped-call]
            if after_epoch and not after_epoch(epoch):
                return epoch * len(windows)
    return epochs * len(windows)


def _step(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], loss: Tensor) -> None:
    """Update the parameters by the gradient of the loss, clipped to norm 5."""
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 5.0)
    optimizer.step()


def known_rows(contexts: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted catalogue rows that occur in windows, without padding."""
    rows = np.unique(np.concatenate([contexts.ravel(), targets]))
    return rows[rows > 0]
