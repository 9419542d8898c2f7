"""Encoding of windows for the posterior over regions: vectors of the frozen backbone, familiarity, recency."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import PADDING
from pipeline.models.backbones.base import last_states, mean_states
from pipeline.regions.encoded import Encoded
from pipeline.regions.region import Region
from pipeline.regions.vmf import shares_among


@dataclass(frozen=True)
class GateView:
    """Encoder of windows; set-up fixes it.

    Attributes:
        counts: (items + 1,) occurrences of each item of set-up.
        setup_regions: the set-up regions before any revision.
    """

    counts: NDArray[np.int64]
    setup_regions: tuple[Region, ...]

    @torch.inference_mode()
    def __call__(self, states: torch.Tensor, contexts: NDArray[np.int64], since_setup: NDArray[np.int64]) -> Encoded:
        """Encode windows.

        Args:
            states: (n, length, d) states of the frozen backbone, without any adapter.
            contexts: (n, length) catalogue rows, negative where disliked.
            since_setup: (n,) number of items of each window taken since set-up.
        """
        windows = torch.from_numpy(contexts).to(states.device)
        means = mean_states(states, windows).cpu().double().numpy()
        last = torch.nn.functional.normalize(last_states(states), dim=-1).cpu().double().numpy()
        features = np.concatenate([means, last, familiarity(np.abs(contexts), self.counts)], axis=1)
        return Encoded(means, features, np.log1p(since_setup)[:, None] * shares_among(self.setup_regions, means))


def familiarity(contexts: NDArray[np.int64], counts: NDArray[np.int64]) -> Array:
    """(n, 3) share of a window's items that set-up lacks, mean and least log count of its items."""
    present = contexts != PADDING
    items = np.maximum(present.sum(axis=1), 1)
    occurrences = counts_of(contexts, counts)
    logs = np.log1p(occurrences)
    unknown = ((occurrences == 0) & present).sum(axis=1) / items
    least = np.where(present, logs, np.inf).min(axis=1)
    return np.stack([unknown, (logs * present).sum(axis=1) / items, np.where(np.isinf(least), 0.0, least)], axis=1)


def negative_log_popularity(targets: NDArray[np.int64], counts: NDArray[np.int64]) -> Array:
    """(n,) minus the log of one plus the count of each item in set-up."""
    values: Array = -np.log1p(counts_of(targets, counts))
    return values


def counts_of(rows: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(...,) occurrences in set-up of catalogue rows; items beyond those of set-up have none."""
    return np.where(rows < len(counts), counts[np.minimum(rows, len(counts) - 1)], 0)
