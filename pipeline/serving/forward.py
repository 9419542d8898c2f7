"""One forward pass for a batch that mixes regions.

The linear layers that adapters change are wrapped once. In a pass the factors of every row's adapter are
stacked, and each layer adds x A' B' s to what the backbone makes of the row. Items that an adapter moved are
corrected on both sides: in the vectors that the windows are read with, and in the scores, where the
backbone's item vectors score all rows at once and only the differences are added.

The result is that of one adapter after the other up to rounding: sums are the same, in another order.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.backbones.base import Backbone, last_states
from pipeline.config import AdapterSettings
from pipeline.serving.factors import Place, Tensors, layout_of, make_factors, views
from pipeline.serving.slots import Active, AdapterSlots
from pipeline.windows import PADDING, Ids


@dataclass
class _Stacked:
    """The packed factors of the rows that are passing, (n, size); None while the backbone is alone."""

    packed: Tensor | None = None


class _MixedLinear(nn.Module):
    """A linear layer of the backbone, and for each row of the batch the low-rank change of its adapter."""

    def __init__(self, base: nn.Module, place: Place, rank: int, stacked: _Stacked) -> None:
        super().__init__()
        self.base = base
        self._place, self._rank, self._stacked = place, rank, stacked

    def forward(self, states: Tensor) -> Tensor:
        """(n, length, in) to (n, length, out)."""
        out: Tensor = self.base(states)
        if self._stacked.packed is None:
            return out
        a, b = views(self._stacked.packed, self._place, self._rank)
        return out.baddbmm_(torch.bmm(states, a.mT), b)


@dataclass(frozen=True)
class _Group:
    """Rows start to stop of a sorted batch, which share an adapter."""

    start: int
    stop: int
    active: Active


class MixedForward:
    """A frozen backbone and the adapters that its rows may have, one thread at a time.

    Args:
        backbone: without adapters; its linear layers are wrapped, its weights stay.
        settings: section `adapter`, the one that every adapter was trained with.
        budget: bytes that active adapters may take (see `AdapterSlots`).
        most_rows: rows of one pass; more are answered in several.

    Attributes:
        slots: the adapters that are known, and those that are active.
        vectors: (items + 1, d) item vectors of the backbone alone.
    """

    def __init__(self, backbone: Backbone, settings: AdapterSettings, budget: int, most_rows: int = 512) -> None:
        self.backbone = backbone.eval().requires_grad_(False)  # type: ignore[no-untyped-call]
        self.most_rows = most_rows
        self._layout = layout = layout_of(backbone, settings)
        self._item_rows = backbone.items.rows.weight.detach()
        self.slots = AdapterSlots(layout, backbone.items.text, budget)
        self._stacked = _Stacked()
        for place in layout.layers:
            parent, _, name = place.name.rpartition(".")
            module = backbone.get_submodule(parent)
            setattr(module, name, _MixedLinear(getattr(module, name), place, layout.rank, self._stacked))
        self._buffers: dict[str, Tensor] = {}
        with torch.inference_mode():
            self.vectors = backbone.items.all()

    @property
    def names(self) -> Collection[str]:
        """Adapters that are there."""
        return self.slots.names

    def register(self, name: str, tensors: Tensors, rows: Sequence[int]) -> bool:
        """Make an adapter known; return whether it was not before.

        Raises:
            AdapterRefused: `wrong_tensors`, they are not those of an adapter of this backbone.
        """
        if name in self.names:
            return False
        return self.slots.register(name, make_factors(name, tensors, rows, self._layout, self._item_rows))

    def drop(self, name: str) -> bool:
        """Forget an adapter; return whether it was known."""
        return self.slots.drop(name)

    @torch.inference_mode()
    def states(self, contexts: Ids) -> Tensor:
        """(n, length) windows to (n, length, d) states of the backbone alone."""
        hidden: Tensor = self.backbone.hidden(torch.from_numpy(contexts), self.vectors)
        return hidden

    @torch.inference_mode()
    def alone(self, states: Tensor) -> Tensor:
        """(n, length, d) states of the backbone to (n, items + 1) probabilities of what comes next."""
        return _probabilities(last_states(states) @ self.vectors.T)

    @torch.inference_mode()
    def probabilities(self, contexts: Ids, names: Sequence[str]) -> Tensor:
        """Answer each window with the adapter that is named for it.

        Args:
            contexts: (n, length) windows.
            names: (n,) registered adapters.

        Returns:
            (n, items + 1) probabilities of what comes next; padding has 0.
        """
        distinct, members = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
        out = torch.empty(len(contexts), len(self.vectors))
        done = 0
        for run in self.slots.passes(distinct.tolist()):
            places = np.flatnonzero((members >= done) & (members < done + len(run)))
            order = places[np.argsort(members[places], kind="stable")]
            sizes = np.bincount(members[order] - done, minlength=len(run))
            answer = self._pass(contexts[order], _groups(self.slots.activate(run), sizes))
            if np.array_equal(order, np.arange(len(contexts))):
                return answer
            out[torch.from_numpy(order)] = answer
            done += len(run)
        return out

    def _pass(self, contexts: Ids, groups: Sequence[_Group]) -> Tensor:
        """(n, length) windows, sorted into groups, to (n, items + 1) probabilities."""
        packed = self._buffer("packed", len(contexts), self._layout.size)
        torch.stack([g.active.factors.packed for g in groups for _ in range(g.stop - g.start)], out=packed)
        read = self._read(contexts, packed, groups)
        # The backbone looks items up by row: here each place of each window is an item of its own.
        own = np.where(contexts != PADDING, np.arange(1, contexts.size + 1).reshape(contexts.shape), PADDING)
        with self._mixing(packed):
            states = self.backbone.last(torch.from_numpy(own), read)
        return _probabilities(self._scores(states, packed, groups))

    def _read(self, contexts: Ids, packed: Tensor, groups: Sequence[_Group]) -> Tensor:
        """(1 + n * length, d) vectors that the windows are read with, padding first."""
        rows = torch.from_numpy(contexts)
        read = self._buffer("read", 1 + contexts.size, self.vectors.shape[1])
        vectors = torch.index_select(self.vectors, 0, rows.flatten(), out=read[1:]).view(*contexts.shape, -1)
        if self._layout.text is not None:
            a, b = views(packed, self._layout.text, self._layout.rank)
            texts = functional.embedding(rows, self.backbone.items.text)
            vectors.baddbmm_(torch.bmm(texts, a.mT), b)
        _move(vectors.numpy(), contexts, groups, len(self.vectors))
        return read

    def _scores(self, states: Tensor, packed: Tensor, groups: Sequence[_Group]) -> Tensor:
        """(n, d) last states to (n, items + 1) logits."""
        logits = torch.mm(states, self.vectors.T, out=self._buffer("logits", len(states), len(self.vectors)))
        if self._layout.text is not None:
            _, b = views(packed, self._layout.text, self._layout.rank)
            turned = torch.bmm(states.unsqueeze(1), b.mT).squeeze(1)
            for group in groups:
                chosen = slice(group.start, group.stop)
                logits[chosen].addmm_(turned[chosen], group.active.texts)
        places = [g.active.factors.rows + i * len(self.vectors) for g in groups for i in range(g.start, g.stop)]
        moves = [(states[g.start : g.stop] @ g.active.factors.moves.T).flatten() for g in groups]
        logits.flatten().index_add_(0, torch.from_numpy(np.concatenate(places)), torch.cat(moves))
        return logits

    def _buffer(self, name: str, rows: int, width: int) -> Tensor:
        """(rows, width) memory that all passes use: fresh memory costs as much as what is copied into it."""
        kept = self._buffers.get(name)
        if kept is None or len(kept) < rows:
            kept = self._buffers[name] = torch.zeros(rows, width)
        return kept[:rows]

    @contextmanager
    def _mixing(self, packed: Tensor) -> Iterator[None]:
        self._stacked.packed = packed
        try:
            yield
        finally:
            self._stacked.packed = None


def _groups(active: Sequence[Active], sizes: NDArray[np.int64]) -> list[_Group]:
    stops = np.cumsum(sizes).tolist()
    return [_Group(stop - size, stop, a) for a, stop, size in zip(active, stops, sizes.tolist(), strict=True)]


def _move(vectors: NDArray[np.float32], contexts: Ids, groups: Sequence[_Group], items: int) -> None:
    """Move the (n, length, d) vectors of the items that adapters have moved, in place.

    All windows are looked up at once: group g's row i is the key g * items + i, and these are sorted.
    """
    rows = [group.active.factors.rows for group in groups]
    sizes = np.array([len(r) for r in rows])
    keys = np.concatenate(rows) + np.repeat(np.arange(len(groups)) * items, sizes)
    if not len(keys):
        return
    owners = np.repeat(np.arange(len(groups)), [g.stop - g.start for g in groups])
    wanted = contexts + owners[:, None] * items
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    windows, positions = np.nonzero(keys[places] == wanted)
    starts = np.cumsum(sizes) - sizes
    met = places[windows, positions] - starts[owners[windows]]
    bounds = np.searchsorted(windows, [(g.start, g.stop) for g in groups])
    for group, (first, last) in zip(groups, bounds, strict=True):
        if first < last:
            chosen = windows[first:last], positions[first:last]
            vectors[chosen] += group.active.factors.moves.numpy()[met[first:last]]


def _probabilities(logits: Tensor) -> Tensor:
    logits[:, PADDING] = -torch.inf
    return logits.softmax(dim=1)
