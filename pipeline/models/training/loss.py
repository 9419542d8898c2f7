"""Next-item cross-entropy, full or with sampled negatives.

The loss is a full softmax over the candidate rows; for a large catalogue, a softmax over uniformly sampled negatives
with the importance correction of Jean et al. (2015): its partition function equals that of the full softmax in
expectation, and its logarithm in the limit of many negatives.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.config import SoftmaxSettings
from pipeline.models.backbones.base import Backbone


@dataclass(frozen=True)
class Candidates:
    """Catalogue rows of a softmax.

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
            a full softmax. A row that is present only as the target of another window was not drawn and has
            weight -inf: as a negative it would occur too often.
        """
        if self.sampled is None or self.sampled >= len(self.rows):
            return torch.unique(torch.cat([self.rows.to(targets.device), targets])), None
        indices = torch.randint(len(self.rows), (self.sampled,), generator=generator)
        drawn = torch.unique(self.rows[indices]).to(targets.device)
        rows = torch.unique(torch.cat([drawn, targets]))
        weight = math.log(len(self.rows) / len(drawn))
        return rows, torch.where(torch.isin(rows, drawn), weight, -math.inf)


def softmax_rows(rows: NDArray[np.int64], settings: SoftmaxSettings) -> Candidates:
    """Choose the full softmax over (c,) sorted catalogue rows, or a sampled one where there are many."""
    sampled = None if len(rows) <= settings.full_up_to else settings.negatives
    return Candidates(torch.from_numpy(rows), sampled)


@dataclass(frozen=True)
class Batch:
    """Windows of one training step.

    Attributes:
        indices: (n,) their positions among the windows of the training.
        contexts: (n, length) catalogue rows.
        targets: (n,) catalogue rows, all in `rows`.
        rows: (c,) sorted rows of the softmax.
        log_weights: (c,) added to the logits of all rows but the window's own target; None for a full softmax.
    """

    indices: Tensor
    contexts: Tensor
    targets: Tensor
    rows: Tensor
    log_weights: Tensor | None = None


Loss = Callable[[Backbone, Batch], Tensor]
"""Loss of a batch, minimised by a training step."""


def next_item_logits(
    model: Backbone, contexts: Tensor, targets: Tensor, rows: Tensor, log_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Next-item logits over the given rows; item vectors are computed for the rows that occur only.

    Args:
        model: to evaluate.
        contexts: (n, length) catalogue rows; negative ones of items that were disliked, for a model that tells them.
        targets: (n,) catalogue rows, all in `rows`.
        rows: (c,) sorted rows, padding not among them.
        log_weights: (c,) added to the logits of all rows but the window's own target; None for a full softmax.

    Returns:
        (n, c) logits and the (n,) column of each target among them.
    """
    held = contexts.abs().flatten()
    used, local = torch.unique(torch.cat([held, rows, held.new_zeros(1)]), return_inverse=True)
    vectors = model.items(used)
    windows = local[: contexts.numel()].view_as(contexts)
    states = model.last(windows, vectors, contexts)
    # Most windows contain only these rows and padding, which sorts first.
    candidates = vectors[1:] if len(used) == len(rows) + 1 else vectors[local[contexts.numel() : -1]]
    logits = states @ candidates.T
    columns = torch.searchsorted(rows, targets)
    return corrected(logits, columns, log_weights), columns


def corrected(logits: Tensor, columns: Tensor, log_weights: Tensor | None) -> Tensor:
    """(n, c) logits with the importance correction of sampled negatives.

    Args:
        logits: (n, c) of the model.
        columns: (n,) column of each target.
        log_weights: (c,) added to the logits of all rows but the window's own target; None for a full softmax.
    """
    if log_weights is None:
        return logits
    own = logits.gather(1, columns[:, None])
    return (logits + log_weights).scatter(1, columns[:, None], own)


def next_item_loss(
    model: Backbone, contexts: Tensor, targets: Tensor, rows: Tensor, log_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of the targets among the given rows; arguments as of `next_item_logits`."""
    return functional.cross_entropy(*next_item_logits(model, contexts, targets, rows, log_weights))


def cross_entropy_of(model: Backbone, batch: Batch) -> Tensor:
    """Default loss, that of set-up and of every edit: `next_item_loss` of a batch."""
    return next_item_loss(model, batch.contexts, batch.targets, batch.rows, batch.log_weights)
