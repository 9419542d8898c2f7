"""Answering a batch of windows: gate them, route them, and mix what the route asks for.

The backbone passes over all windows: the gate needs its states, and every answer has a share of it. One more
pass serves every adapter of every route, a row for each (window, region); a window whose route has several
regions has several rows there, and costs no one else anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.models.lora.batched_forward import MixedForward
from pipeline.recommend.canary import Canary, split
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.features import GateView
from pipeline.regions.mixing import rerouted


@dataclass(frozen=True)
class Answers:
    """What n windows are answered.

    Attributes:
        posterior: over the live regions.
        route: (n, 1 + opened) weights of backbone and regions.
        missing: (n,) True where the backbone stood in for an adapter that is not there.
        probabilities: (n, items + 1) mixed probabilities of what comes next; padding has 0.
    """

    posterior: Posterior
    route: Array
    missing: NDArray[np.bool_]
    probabilities: NDArray[np.float32]


def answer(
    forward: MixedForward,
    bank: RegionBank,
    contexts: Ids,
    since_setup: NDArray[np.int64],
    view: GateView,
    floor: float,
    era: Callable[[Posterior, Array, NDArray[np.int64]], Array],
    canaries: Sequence[Canary],
    kept: NDArray[np.bool_],
) -> Answers:
    """Answer (n, length) windows under one revision.

    Args:
        forward: the backbone, and the adapters that are there.
        bank: the regions of the revision.
        contexts: catalogue rows, left-padded.
        since_setup: (n,) how many items of each were taken since set-up.
        view: how the gate looks at windows.
        floor: least posterior of a region that takes part.
        era: from posterior, route and `since_setup` to the (n,) weight of opened regions, see
            `OriginPrior.origin_weight`.
        canaries: c trials under way.
        kept: (n, c) True for windows that they do not reach.
    """
    states = forward.states(contexts)
    posterior = bank.posterior(view(states, contexts, since_setup))
    route = posterior.route(floor)
    route = rerouted(route, era(posterior, route, since_setup))
    shares, adapters = split(route, bank, canaries, kept)
    shares, missing = present(shares, adapters, forward)
    return Answers(posterior, route, missing, mix(forward, states, contexts, shares, adapters).numpy())


def present(shares: Array, adapters: Sequence[str | None], forward: MixedForward) -> tuple[Array, NDArray[np.bool_]]:
    """Give the backbone the shares of adapters that are not there, and say where it got any."""
    gone = np.array([name is not None and name not in forward.names for name in adapters])
    # An opened region without an adapter is the backbone's by right; nothing is missing there.
    idle = gone | np.array([i > 0 and name is None for i, name in enumerate(adapters)])
    kept = np.where(idle, 0.0, shares)
    kept[:, 0] += (shares * idle).sum(axis=1)
    missing: NDArray[np.bool_] = ((shares > 0.0) & gone).any(axis=1)
    return kept, missing


@torch.inference_mode()
def mix(
    forward: MixedForward, states: torch.Tensor, contexts: Ids, shares: Array, adapters: Sequence[str | None]
) -> torch.Tensor:
    """(n, c) shares of c adapters to (n, items + 1) probabilities, as `routing.mixed_probabilities` mixes them."""
    weights = torch.from_numpy(shares).to(torch.float32)
    total = forward.alone(states) * weights[:, :1]
    # Rows of one adapter follow one another: the second finds it in the processor's cache.
    columns, rows = np.nonzero(shares[:, 1:].T)
    names = [str(adapters[column + 1]) for column in columns.tolist()]
    for start in range(0, len(rows), forward.most_rows):
        part = slice(start, start + forward.most_rows)
        mixed = forward.probabilities(contexts[rows[part]], names[part])
        chosen = torch.from_numpy(rows[part])
        mixed *= weights[chosen, torch.from_numpy(columns[part] + 1)].unsqueeze(1)
        total.index_add_(0, chosen, mixed)
    return total
