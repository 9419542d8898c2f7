"""Backends of `Scorer`: backbone and adapters, one adapter after the other, in one batched pass, or by an index."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids
from pipeline.models.backbones.base import last_states
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.recommend.model_scores import AllScores, FoundScores, ModelScores, Part
from pipeline.regions.mixing import mixed_probabilities, scored
from pipeline.retrieval.adapted_items import AdaptedItems
from pipeline.retrieval.retriever import Retriever


@dataclass(frozen=True)
class Mixture:
    """Probabilities of n windows, mixed from those of the backbone and of adapters.

    Attributes:
        scores: the probabilities.
        fallback: (n,) True where the backbone replaces an adapter that is not loaded.
    """

    scores: ModelScores
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
        return Mixture(AllScores(mixed.cpu().numpy(), backbone.cpu().numpy()), fallback)


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
        backbone = self._forward.alone(states).clone()  # the pass reuses its memory
        mixed = self._sum(backbone, contexts, without_idle(shares, adapters, gone), adapters)
        return Mixture(AllScores(mixed.cpu().numpy(), backbone.cpu().numpy()), affected(shares, gone))

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


class RetrievingBackend:
    """Scores of a large catalogue by an index, and of one that is not by another backend, whose states it takes.

    Args:
        exact: scores all items.
        items: vectors, texts and adapters of the same process.
        most: items of the largest catalogue that is scored by `exact`.
        make: makes the index, when it is first needed.
    """

    def __init__(self, exact: Backend, items: AdaptedItems, most: int, make: Callable[[], Retriever]) -> None:
        self._exact, self._items, self._most, self._make = exact, items, most, make
        self._retriever: Retriever | None = None

    def states(self, contexts: Ids) -> Tensor:
        """See `Backend.states`."""
        return self._exact.states(contexts)

    def mixed(
        self, states: Tensor, contexts: Ids, shares: Array, adapters: Sequence[str | None], existence: Existence
    ) -> Mixture:
        """See `Backend.mixed`."""
        if existence.items <= self._most:
            return self._exact.mixed(states, contexts, shares, adapters, existence)
        retriever = self._made()
        retriever.follow(existence.of_any(len(contexts)))
        gone = missing(adapters, self._items.names())
        moved = without_idle(shares, adapters, gone)
        # Rows of one adapter follow one another.
        columns, windows = np.nonzero(moved[:, 1:].T)
        names = [str(adapters[column + 1]) for column in columns.tolist()]
        own = self._items.last(contexts[windows], names) if names else np.zeros((0, 0), dtype=np.float32)
        parts = []
        for column in np.unique(columns).tolist():
            of, name = columns == column, str(adapters[column + 1])
            parts.append(Part(windows[of], moved[windows[of], column + 1], retriever.ask(name, own[of])))
        backbone = retriever.ask(None, last_states(states).numpy())
        scores = FoundScores(retriever, backbone, moved[:, 0], parts, np.ones(len(contexts)))
        return Mixture(scores, affected(shares, gone))

    def texts_like(self, directions: NDArray[np.float32]) -> Ids | None:
        """See `Retriever.texts_like`: among the items of the last scores; None where the catalogue is not large."""
        return self._made().texts_like(directions) if len(self._items.texts()) - 1 > self._most else None

    def _made(self) -> Retriever:
        if self._retriever is None:
            self._retriever = self._make()
        return self._retriever


def without_idle(shares: Array, adapters: Sequence[str | None], gone: NDArray[np.bool_]) -> Array:
    """(n, c) shares in which the backbone has those of regions without an adapter, which is no fallback, and of `gone`.

    Args:
        shares: (n, c) weights in the probabilities; column 0 is the backbone.
        adapters: version name of each column.
        gone: (c,) True for adapters that are not loaded.
    """
    idle = gone | np.array([column > 0 and name is None for column, name in enumerate(adapters)])
    moved = np.where(idle, 0.0, shares)
    moved[:, 0] += (shares * idle).sum(axis=1)
    return moved


def missing(adapters: Sequence[str | None], names: Collection[str]) -> NDArray[np.bool_]:
    """(c,) True for adapters that are wanted and not among the loaded ones."""
    loaded = set(names)
    return np.array([name is not None and name not in loaded for name in adapters])


def affected(shares: Array, columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) True for windows with a share in any of the columns."""
    windows: NDArray[np.bool_] = np.any((shares > 0.0) & columns, axis=1)
    return windows
