"""Training: next-item cross-entropy over the whole catalogue, for set-up and for every edit alike.

The loss is a full softmax; where the catalogue is large, a softmax over uniformly sampled negatives with
the importance correction of Jean et al. (2015): its partition function is that of the full softmax on average,
and its logarithm in the limit of many negatives.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone

Progress = Callable[[int, int], None]
"""Called with (batches done, batches in all)."""


@dataclass(frozen=True)
class Candidates:
    """The rows a softmax runs over.

    Attributes:
        rows: (c,) sorted catalogue rows.
        sampled: negatives drawn for each batch, or None for the full softmax.
    """

    rows: Tensor
    sampled: int | None = None

    def draw(self, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Draw the rows of one batch.

        Returns:
            (c,) sorted rows, targets included, and the (c,) log weights of these rows as negatives: None for
            a full softmax. A row that is there only as the target of another window was not drawn, so it is
            no negative: it would come up far too often.
        """
        if self.sampled is None or self.sampled >= len(self.rows):
            return torch.unique(torch.cat([self.rows, targets])), None
        places = torch.randint(len(self.rows), (self.sampled,), generator=generator)
        drawn = torch.unique(self.rows[places])
        rows = torch.unique(torch.cat([drawn, targets]))
        weight = math.log(len(self.rows) / len(drawn))
        return rows, torch.where(torch.isin(rows, drawn), weight, -math.inf)


@dataclass(frozen=True)
class Batch:
    """The windows of one training step.

    Attributes:
        places: (n,) where they stand among the windows that are trained on.
        contexts: (n, length) catalogue rows.
        targets: (n,) catalogue rows, all in `rows`.
        rows: (c,) sorted rows of the softmax.
        log_weights: (c,) added to the logits of all rows but the window's own target; None for a full softmax.
    """

    places: Tensor
    contexts: Tensor
    targets: Tensor
    rows: Tensor
    log_weights: Tensor | None = None


Loss = Callable[[Backbone, Batch], Tensor]
"""What a training step lowers."""


def next_item_logits(
    model: Backbone, contexts: Tensor, targets: Tensor, rows: Tensor, log_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What a model says comes next, among the given rows; vectors are computed for rows that occur, and no others.

    Args:
        model: answers.
        contexts: (n, length) catalogue rows.
        targets: (n,) catalogue rows, all in `rows`.
        rows: (c,) sorted rows, padding not among them.
        log_weights: (c,) added to the logits of all rows but the window's own target; None for a full softmax.

    Returns:
        (n, c) logits and the (n,) place of each target among the rows.
    """
    used, local = torch.unique(torch.cat([contexts.flatten(), rows, contexts.new_zeros(1)]), return_inverse=True)
    vectors = model.items(used)
    windows = local[: contexts.numel()].view_as(contexts)
    states = model.last(windows, vectors)
    # Most often windows hold no others than these rows and padding, which comes first.
    candidates = vectors[1:] if len(used) == len(rows) + 1 else vectors[local[contexts.numel() : -1]]
    logits = states @ candidates.T
    places = torch.searchsorted(rows, targets)
    if log_weights is not None:
        own = logits.gather(1, places[:, None])
        logits = (logits + log_weights).scatter(1, places[:, None], own)
    return logits, places


def next_item_loss(
    model: Backbone, contexts: Tensor, targets: Tensor, rows: Tensor, log_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of the targets among the given rows; arguments as of `next_item_logits`."""
    return functional.cross_entropy(*next_item_logits(model, contexts, targets, rows, log_weights))


def cross_entropy_of(model: Backbone, batch: Batch) -> Tensor:
    """The loss of set-up and of every edit."""
    return next_item_loss(model, batch.contexts, batch.targets, batch.rows, batch.log_weights)


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Everything random inside follows from the seed; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


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
        windows: what to learn; each is passed once an epoch, in an order that follows from the seed.
        groups: parameter groups for Adam, each with its `lr`.
        candidates: the rows of the softmax.
        epochs: passes over the windows, at most.
        batch_size: windows of a step.
        seed: for the order of the windows, the negatives and dropout.
        epsilon: of Adam. Where gradients are far smaller, a step is in proportion to them instead of the learning rate.
        on_batch: told of the progress.
        after_epoch: told of each finished epoch (1 …); training stops when it says False.
        loss_of: what a step lowers.

    Returns:
        Windows trained on, counting each pass.
    """
    optimizer = torch.optim.Adam(groups, eps=epsilon, fused=True)
    parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
    contexts, targets = torch.from_numpy(windows.contexts), torch.from_numpy(windows.targets)
    batches = math.ceil(len(windows) / batch_size)
    with seeded(seed) as generator:
        for epoch in range(1, epochs + 1):
            model.train()
            order = torch.randperm(len(windows), generator=generator)
            for i, chosen in enumerate(order.split(batch_size)):
                rows, log_weights = candidates.draw(targets[chosen], generator)
                loss = loss_of(model, Batch(chosen, contexts[chosen], targets[chosen], rows, log_weights))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 5.0)
                optimizer.step()
                if on_batch:
                    on_batch((epoch - 1) * batches + i + 1, epochs * batches)
            model.eval()  # type: ignore[no-untyped-call]
            if after_epoch and not after_epoch(epoch):
                return epoch * len(windows)
    return epochs * len(windows)


def known_rows(contexts: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted catalogue rows that occur in windows, padding left out."""
    rows = np.unique(np.concatenate([contexts.ravel(), targets]))
    return rows[rows > 0]
