"""Mixture of probabilities by a route: those of the backbone and of adapters on a peft host."""

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.events.windows import PADDING, Ids
from pipeline.models.lora.host import AdapterHost


@torch.inference_mode()
def next_item_probabilities(host: AdapterHost, contexts: Ids, name: str | None, existence: Existence) -> torch.Tensor:
    """(n, items + 1) probabilities of the next item under one adapter (None: the backbone); see `scored`."""
    return scored(host, host.states(contexts, name), name, existence)


@torch.inference_mode()
def scored(host: AdapterHost, states: torch.Tensor, name: str | None, existence: Existence) -> torch.Tensor:
    """Probabilities of the next item.

    Args:
        host: holds the adapter.
        states: (n, length, d) under the adapter.
        name: of the adapter; None: the backbone.
        existence: of items for each window.

    Returns:
        (n, items + 1) probabilities; padding and items that do not exist have 0.
    """
    logits = host.logits(states, name, existence.items)
    logits[:, PADDING] = -torch.inf
    existence.hide(logits, -torch.inf)
    return logits.softmax(dim=1)


@torch.inference_mode()
def mixed_probabilities(
    host: AdapterHost,
    contexts: Ids,
    route: Array,
    adapters: Sequence[str | None],
    existence: Existence,
    backbone: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mix the probabilities of several adapters for each window.

    Args:
        host: holds the adapters.
        contexts: (n, length) windows.
        route: (n, c) weights in the mixture, rows summing to 1.
        adapters: adapter of each column; the backbone takes the place of None, and of an adapter that the host lacks.
        existence: of items for each window.
        backbone: (n, items + 1) probabilities of the backbone for all these windows, where they are computed already.

    Returns:
        (n, items + 1) probabilities.
    """
    device = host.backbone.device
    weights = torch.from_numpy(route).to(device, torch.float32)
    total = torch.zeros(len(contexts), existence.items + 1, device=device)
    loaded = set(host.names)
    # The backbone scores every window, needed or not: the size of a batch can change the last bits of a result,
    # and the adapter weight of one region must not reach the windows of another that way.
    needed = np.array([wanted is None for wanted in adapters]) | (route != 0.0).any(axis=0)
    for column in np.flatnonzero(needed).tolist() if len(contexts) else ():
        wanted = adapters[column]
        rows = np.arange(len(contexts)) if wanted is None else np.flatnonzero(route[:, column])
        known = backbone if wanted is None else None
        name, selected = wanted if wanted in loaded else None, existence.select(rows)
        answer = next_item_probabilities(host, contexts[rows], name, selected) if known is None else known
        places = torch.from_numpy(rows).to(device)
        total.index_add_(0, places, answer * weights[places, column : column + 1])
    return total
