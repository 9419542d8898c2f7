"""Item vectors that score, under the backbone and under each adapter, without a table of all items for each adapter.

An adapter turns the text projection W into W + BA and has own vectors for some items. With t the text embedding of an
item, v its vector under the backbone, and h the state of a window under the adapter, the score of any other item is

    h . (v + BA t) = h . v + (h BA) . t

so that an adapter takes part on the side of the query.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from pipeline.arrays import Vectors, is_among
from pipeline.events.windows import PADDING, Ids
from pipeline.models.backbones.base import ItemTable
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.factors import views
from pipeline.models.lora.host import AdapterHost
from pipeline.models.lora.moved_items import ROWS
from pipeline.models.text_vectors import TextVectors


class OwnVectors(NamedTuple):
    """Vectors of items that do not follow from those of the backbone.

    Attributes:
        rows: (m,) catalogue rows, ascending.
        vectors: (m, d) vectors that score.
    """

    rows: Ids
    vectors: Vectors


class AdaptedItems(Protocol):
    """Items and adapters of one process; None is the name of the backbone."""

    def names(self) -> Collection[str]:
        """Names of the adapters that are loaded."""
        ...

    def vectors(self) -> Vectors:
        """(items + 1, d) item vectors of the backbone, as windows are read with them."""
        ...

    def texts(self) -> TextVectors:
        """Text embeddings of (items + 1) rows."""
        ...

    def turned(self, name: str | None) -> Vectors | None:
        """(t, d) change BA of the text projection, transposed; None where there is none."""
        ...

    def own(self, name: str | None) -> OwnVectors:
        """Items with vectors of their own: those that the adapter moved, and those that are injected."""
        ...

    def last(self, contexts: Ids, names: Sequence[str]) -> Vectors:
        """(n, d) last states of (n, length) windows, each under the adapter of one of (n,) names."""
        ...

    def take_changes(self) -> set[int]:
        """Rows whose text or vectors may have changed since the last call."""
        ...


class HostItems:
    """Items and adapters of a peft host: the arithmetic of gate and replay.

    Args:
        host: holds the adapters, on the CPU.
    """

    def __init__(self, host: AdapterHost) -> None:
        self._host = host
        self._turned: dict[str, Vectors | None] = {}
        self._moved: dict[str, OwnVectors] = {}

    def names(self) -> Collection[str]:
        """See `AdaptedItems.names`."""
        return self._host.names

    def vectors(self) -> Vectors:
        """See `AdaptedItems.vectors`."""
        found: Vectors = self._host.vectors(None).numpy()
        return found

    def texts(self) -> TextVectors:
        """See `AdaptedItems.texts`."""
        table: ItemTable = self._host.backbone.items
        return table.readable_texts().first(table.last + 1)

    @torch.inference_mode()
    def turned(self, name: str | None) -> Vectors | None:
        """See `AdaptedItems.turned`."""
        projection = self._host.backbone.items.projection
        if name is None or projection is None or not self._host.settings.text_projection:
            return None
        if name not in self._turned:
            each = torch.eye(projection.in_features)
            before = projection(each)
            with self._host.active(name):
                self._turned[name] = (projection(each) - before).numpy()
        return self._turned[name]

    def own(self, name: str | None) -> OwnVectors:
        """See `AdaptedItems.own`."""
        rows, vectors = self._host.injected()
        if name is None or not len(rows):
            return _ascending(rows, vectors) if name is None else self._moves(name)
        turned, moved = self.turned(name), self._moves(name)
        kept = ~is_among(rows, moved.rows)
        added = vectors if turned is None else vectors + self.texts().of(rows) @ turned
        return _ascending(np.concatenate([moved.rows, rows[kept]]), np.concatenate([moved.vectors, added[kept]]))

    def last(self, contexts: Ids, names: Sequence[str]) -> Vectors:
        """See `AdaptedItems.last`: one adapter after the other."""
        of_name = np.array(names)
        states = np.empty((len(contexts), self.vectors().shape[1]), dtype=np.float32)
        for name in dict.fromkeys(names):
            windows = np.flatnonzero(of_name == name)
            states[windows] = self._last(contexts[windows], name)
        return states

    @torch.inference_mode()
    def _last(self, contexts: Ids, name: str) -> Vectors:
        rows, places = np.unique(np.append(PADDING, np.abs(contexts)), return_inverse=True)
        read, turned, moved = self.vectors()[rows], self.turned(name), self._moves(name)
        if turned is not None:
            read = read + self.texts().of(rows) @ turned
        is_moved = is_among(rows, moved.rows)
        read[is_moved] = moved.vectors[np.searchsorted(moved.rows, rows[is_moved])]
        windows = torch.from_numpy(places[1:].reshape(contexts.shape))
        with self._host.active(name) as model:
            states: Vectors = model.last(windows, torch.from_numpy(read), torch.from_numpy(contexts)).numpy()
        return states

    def take_changes(self) -> set[int]:
        """See `AdaptedItems.take_changes`."""
        changed, names = self._host.take_rewritten(), set(self._host.names)
        self._turned = {name: of for name, of in self._turned.items() if name in names}
        self._moved = {} if changed else {name: of for name, of in self._moved.items() if name in names}
        return changed

    def _moves(self, name: str) -> OwnVectors:
        """Vectors of the items that an adapter moved, as windows are read with them."""
        if name not in self._moved:
            rows, turned = np.array(self._host.rows(name), dtype=np.int64), self.turned(name)
            base = self._host.backbone.items.rows.weight.detach()[rows].numpy()
            vectors = self.vectors()[rows] + (self._host.tensors(name)[ROWS] - base)
            if turned is not None:
                vectors += self.texts().of(rows) @ turned
            self._moved[name] = _ascending(rows, vectors)
        return self._moved[name]


class ForwardItems:
    """Items and adapters of a batched pass: the arithmetic of the server.

    Args:
        forward: holds the adapters.
    """

    def __init__(self, forward: BatchedForward) -> None:
        self._forward = forward

    def names(self) -> Collection[str]:
        """See `AdaptedItems.names`."""
        return self._forward.names

    def vectors(self) -> Vectors:
        """See `AdaptedItems.vectors`."""
        found: Vectors = self._forward.vectors.numpy()
        return found

    def texts(self) -> TextVectors:
        """See `AdaptedItems.texts`."""
        table: ItemTable = self._forward.backbone.items
        return table.readable_texts().first(len(self._forward.vectors))

    def turned(self, name: str | None) -> Vectors | None:
        """See `AdaptedItems.turned`."""
        layout = self._forward.slots.layout
        if name is None or layout.text is None:
            return None
        a, b = views(self._forward.slots.factors(name).packed, layout.text, layout.rank)
        found: Vectors = (a.T @ b).numpy()
        return found

    def own(self, name: str | None) -> OwnVectors:
        """See `AdaptedItems.own`."""
        injected, scored = self._forward.injected()
        if name is None:
            return OwnVectors(injected, scored)
        factors, turned = self._forward.slots.factors(name), self.turned(name)
        rows, others = factors.rows.numpy(), injected[~is_among(injected, factors.rows.numpy())]
        kept = is_among(injected, others)
        base = np.concatenate([self.vectors()[rows] + factors.moves.numpy(), scored[kept]])
        both = np.concatenate([rows, others])
        return _ascending(both, base if turned is None else base + self.texts().of(both) @ turned)

    def last(self, contexts: Ids, names: Sequence[str]) -> Vectors:
        """See `AdaptedItems.last`: in as few passes as rows and memory allow."""
        rows = self._forward.most_rows
        parts = [slice(start, start + rows) for start in range(0, len(contexts), rows)]
        states: Vectors = np.concatenate([self._forward.last(contexts[part], names[part]).numpy() for part in parts])
        return states

    def take_changes(self) -> set[int]:
        """See `AdaptedItems.take_changes`."""
        return self._forward.take_rewritten()


def _ascending(rows: Ids, vectors: Vectors) -> OwnVectors:
    order = np.argsort(rows, kind="stable")
    return OwnVectors(rows[order], np.ascontiguousarray(vectors[order], dtype=np.float32))
