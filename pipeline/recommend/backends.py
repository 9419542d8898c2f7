"""Backends of `Scorer`: backbone and adapters, computed one adapter after the other or in one batched pass."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.mixing import mixed_probabilities, scored


@dataclass(frozen=True)
class Mixture:
    """Probabilities of n windows, mixed from those of the backbone and of adapters.

    Attributes:
        probabilities: (n, items + 1), padding has 0.
        backbone: (n, items + 1) of the backbone alone.
        fallback: (n,) True where the backbone replaces an adapter that is not loaded.
    """

    probabilities: Tensor
    backbone: Tensor
    fallback: NDArray[np.bool_]


class Backend(Protocol):
    """Backbone and adapters of a scorer."""

    def states(self, contexts: Ids) -> Tensor:
        """Encode (n, length) windows: (n, length, d) states of the backbone alone."""
        ...

    def mixed(
        self, states: Tensor, contexts: Ids, shares: Array, adapters: Sequence[str | None], existence: Existence
    ) -> Mixture:
        """Score n windows, each with several adapters.

        Args:
            states: (n, length, d) as `states` returned them.
            contexts: (n, length) the windows.
            shares: (n, c) weights in the probabilities, rows summing to 1; column 0 is the backbone.
            adapters: version name of each column; None is the backbone.
            existence: of items for each window; those that do not exist have probability 0.
        """
        ...


class HostBackend:
    """One adapter after the other through peft: the arithmetic of gate and replay.

    Args:
        host: holds the adapters.
    """

    def __init__(self, host: AdapterHost) -> None:
        self._host = host

    def states(self, contexts: Ids) -> Tensor:
        """See `Backend.states`."""
        return self._host.states(contexts, None)

    def mixed(
        self, states: Tensor, contexts: Ids, shares: Array, adapters: Sequence[str | None], existence: Existence
    ) -> Mixture:
        """See `Backend.mixed`."""
        backbone = scored(self._host, states, None, existence)
        fallback = affected(shares, missing(adapters, self._host.names))
        mixed = mixed_probabilities(self._host, contexts, shares, adapters, existence, backbone)
        return Mixture(mixed, backbone, fallback)


class BatchedBackend:
    """All adapters in one pass: the arithmetic of the server.

    The pass has a row for each (window, adapter), so that a window with several adapters has several rows and
    windows of the backbone alone have none.

    Args:
        forward: holds the adapters.
    """

    def __init__(self, forward: BatchedForward) -> None:
        self._forward = forward

    def states(self, contexts: Ids) -> Tensor:
        """See `Backend.states`."""
        return self._forward.states(contexts)

    def mixed(
        self, states: Tensor, contexts: Ids, shares: Array, adapters: Sequence[str | None], existence: Existence
    ) -> Mixture:
        """See `Backend.mixed`.

        Existence is the same for all windows of a batch: `BatchedForward.hide` was told of it.
        """
        del existence
        gone = missing(adapters, self._forward.names)
        # The backbone also has the share of a stream region without an adapter; that is no fallback.
        idle = gone | np.array([column > 0 and name is None for column, name in enumerate(adapters)])
        moved = np.where(idle, 0.0, shares)
        moved[:, 0] += (shares * idle).sum(axis=1)
        backbone = self._forward.alone(states).clone()  # the pass reuses its memory
        return Mixture(self._sum(backbone, contexts, moved, adapters), backbone, affected(shares, gone))

    @torch.inference_mode()
    def _sum(self, backbone: Tensor, contexts: Ids, shares: Array, adapters: Sequence[str | None]) -> Tensor:
        """(n, items + 1) sums of probabilities times shares, in single precision."""
        weights = torch.from_numpy(shares).to(backbone.device, torch.float32)
        total = backbone * weights[:, :1]
        # Rows of one adapter follow one another: the second finds it in the processor's cache.
        columns, rows = np.nonzero(shares[:, 1:].T)
        names = [str(adapters[column + 1]) for column in columns.tolist()]
        for start in range(0, len(rows), self._forward.most_rows):
            part = slice(start, start + self._forward.most_rows)
            mixed = self._forward.probabilities(contexts[rows[part]], names[part])
            windows = torch.from_numpy(rows[part]).to(backbone.device)
            mixed *= weights[windows, torch.from_numpy(columns[part] + 1).to(backbone.device)].unsqueeze(1)
            total.index_add_(0, windows, mixed)
        return total


def missing(adapters: Sequence[str | None], names: Collection[str]) -> NDArray[np.bool_]:
    """(c,) True for adapters that are wanted and not among the loaded ones."""
    return np.array([name is not None and name not in names for name in adapters])


def affected(shares: Array, columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) True for windows with a share in any of the columns."""
    windows: NDArray[np.bool_] = np.any((shares > 0.0) & columns, axis=1)
    return windows
