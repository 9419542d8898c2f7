"""Mixture of probabilities by a route: those of the backbone and of adapters on a peft host."""

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.arrays import Array
from pipeline.events.windows import PADDING, Ids
from pipeline.models.backbones.base import last_states
from pipeline.models.lora.host import AdapterHost


def rerouted(route: Array, origin_weight: Array) -> Array:
    """(n, c) route in which all columns but the first count (n,) `origin_weight` times as much."""
    weights: Array = route * origin_weight[:, None]
    weights[:, 0] = 1.0 - weights[:, 1:].sum(axis=1)
    return np.where(origin_weight[:, None] == 1.0, route, weights)


def weighted(route: Array, adapter_weight: Array) -> Array:
    """(n, c) route times the (c,) weight of each column's adapter; column 0 gets the rest."""
    shares: Array = route * adapter_weight
    shares[:, 0] += (route * (1.0 - adapter_weight)).sum(axis=1)
    return shares


@torch.inference_mode()
def next_item_probabilities(host: AdapterHost, contexts: Ids, name: str | None) -> torch.Tensor:
    """(n, items + 1) probabilities of the next item under one adapter (None: the backbone); padding has 0."""
    return scored(host, host.states(contexts, name), name)


@torch.inference_mode()
def scored(host: AdapterHost, states: torch.Tensor, name: str | None) -> torch.Tensor:
    """(n, items + 1) probabilities of the next item from (n, length, d) states under that adapter."""
    logits = last_states(states) @ host.vectors(name).T
    logits[:, PADDING] = -torch.inf
    return logits.softmax(dim=1)


@torch.inference_mode()
def mixed_probabilities(
    host: AdapterHost,
    contexts: Ids,
    route: Array,
    adapters: Sequence[str | None],
    backbone: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mix the probabilities of several adapters for each window.

    Args:
        host: holds the adapters.
        contexts: (n, length) windows.
        route: (n, c) weights in the mixture, rows summing to 1.
        adapters: adapter of each column; the backbone takes the place of None, and of an adapter that the host lacks.
        backbone: (n, items + 1) probabilities of the backbone for all these windows, where they are computed already.

    Returns:
        (n, items + 1) probabilities.
    """
    weights = torch.from_numpy(route).to(torch.float32)
    total = torch.zeros(len(contexts), host.vectors(None).shape[0])
    for column, wanted in enumerate(adapters):
        name = wanted if wanted in host.names else None
        # The backbone scores every window, needed or not: the size of a batch can change the last bits of a result,
        # and the adapter weight of one region must not reach the windows of another that way.
        rows = torch.arange(len(contexts)) if wanted is None else torch.from_numpy(np.flatnonzero(route[:, column]))
        if len(rows):
            known = backbone if wanted is None else None
            answer = next_item_probabilities(host, contexts[rows.numpy()], name) if known is None else known
            total.index_add_(0, rows, answer * weights[rows, column : column + 1])
    return total
