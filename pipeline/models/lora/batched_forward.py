"""One forward pass for a batch whose rows have different adapters.

The linear layers that adapters change are wrapped once. In a pass each layer gathers the factors of every row's
adapter, and adds x A' B' s to the output of the backbone's layer. Items that an adapter moved are corrected twice: in
the vectors that encode the windows, and in the scores, where the backbone's item vectors score all rows at once and
only the differences are added. Both are sums over rows of tables that all adapters share, selected by a compressed
matrix: nothing is copied, and no loop goes over the rows of a batch.

The catalogue may grow between passes: tables have room for more items, and only what changed is computed anew.

The result equals that of one adapter after the other up to rounding: sums are the same, in another order.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.config import AdapterSettings
from pipeline.events.windows import PADDING, Ids
from pipeline.models.backbones.base import Backbone, last_states
from pipeline.models.lora.factors import Tensors, layout_of, make_factors
from pipeline.models.lora.layers import MixedLinear, Mixing, gather
from pipeline.models.lora.slots import Active, AdapterSlots
from pipeline.models.lora.sparse import compressed, whole_lines
from pipeline.models.lora.widening import with_slack


class BatchedForward:
    """Frozen backbone with adapters by row, for one thread at a time.

    Args:
        backbone: without adapters; its linear layers are wrapped, its weights stay.
        settings: section `adapter` that every adapter was trained with.
        budget: bytes that active adapters may take (see `AdapterSlots`).
        most_rows: most rows of one pass; callers split larger batches.

    Attributes:
        slots: registered and active adapters.
        vectors: (items + 1, d) item vectors of the backbone alone, as windows are read with them.
    """

    def __init__(self, backbone: Backbone, settings: AdapterSettings, budget: int, most_rows: int = 512) -> None:
        self.backbone = backbone.eval().requires_grad_(False)  # type: ignore[no-untyped-call]
        self.most_rows = most_rows
        self._layout = layout = layout_of(backbone, settings)
        with torch.no_grad():
            self._table = self.vectors = backbone.items.all()
        self._outputs = self._table
        self._injected: set[int] = set()
        self._rewritten: set[int] = set()
        self._hidden_rows = torch.tensor([PADDING], device=self._table.device)
        self.slots = AdapterSlots(layout, backbone.items.text[: len(self.vectors)], self.vectors.shape[1], budget)
        self._mixing = Mixing(layout, self.slots.table)
        for layer in layout.layers:
            parent, _, name = layer.name.rpartition(".")
            module = backbone.get_submodule(parent)
            setattr(module, name, MixedLinear(getattr(module, name), layer, self._mixing))
        self._buffers: dict[str, Tensor] = {}

    @property
    def names(self) -> Collection[str]:
        """Names of the registered adapters."""
        return self.slots.names

    def register(self, name: str, tensors: Tensors, rows: Sequence[int]) -> bool:
        """Register an adapter; return False where its name was registered before.

        Args:
            name: version of the adapter.
            tensors: tensors by peft's names.
            rows: catalogue rows that it moves.

        Raises:
            AdapterRefused: `wrong_tensors`, the tensors do not fit this backbone.
        """
        if name in self.names:
            return False
        item_rows = self.backbone.items.rows.weight.detach()[: len(self.vectors)]
        return self.slots.register(name, make_factors(name, tensors, rows, self._layout, item_rows))

    def drop(self, name: str) -> bool:
        """Remove an adapter; return False where its name was not registered."""
        return self.slots.drop(name)

    @torch.no_grad()
    def set_items(self, items: int, changed: Sequence[int]) -> None:
        """Follow the backbone's item table, which changed since the last pass.

        Moves of its rows stay: they are moves of the item, and `forget_moves` drops those of an item that is gone.
        Vectors that were injected in changed rows are dropped; `inject_more` brings those of their items back.

        Args:
            items: highest catalogue row in use, not less than before.
            changed: rows with another text or row of their own; those beyond the highest one so far count as changed.
        """
        known = len(self.vectors)
        rows = self._rows(sorted({*changed, *range(known, items + 1)}))
        if items >= len(self._table):
            self._widen(with_slack(items + 1))
        self._table[rows] = self.backbone.items(rows)
        self.vectors = self._table[: items + 1]
        self._drop_injected(rows)
        self.slots.set_items(self.backbone.items.text[: items + 1], rows)

    @torch.no_grad()
    def inject(self, rows: Sequence[int], vectors: Tensor) -> None:
        """Score items by other vectors than those that windows are read with; between passes.

        An adapter's own rows take precedence.

        Args:
            rows: (m,) catalogue rows, in place of those injected before.
            vectors: (m, d) their vectors.
        """
        self._drop_injected(self._rows(sorted(self._injected)))
        self.inject_more(rows, vectors)

    @torch.no_grad()
    def inject_more(self, rows: Sequence[int], vectors: Tensor) -> None:
        """Do as `inject`, beside what is injected in other rows."""
        if not rows:
            return
        if self._outputs is self._table:
            self._outputs = self._table.clone()
        written = self._rows(rows)
        self._outputs[written] = vectors.to(written.device)
        self._injected.update(rows)
        self._rewritten.update(rows)
        self.slots.rescore(self._table, self._outputs, written)

    def injected(self) -> tuple[Ids, NDArray[np.float32]]:
        """(m,) rows of injected items, ascending, and their (m, d) vectors."""
        rows = np.array(sorted(self._injected), dtype=np.int64)
        return rows, self._outputs[rows].numpy()

    def take_rewritten(self) -> set[int]:
        """Rows that `set_items` has written, and those of injected items that changed, since the last call."""
        rewritten, self._rewritten = self._rewritten, set()
        return rewritten

    def _drop_injected(self, rows: Tensor) -> None:
        """Score (m,) rows, which may have changed, by the vectors that windows are read with."""
        self._injected.difference_update(rows.tolist())
        self._rewritten.update(rows.tolist())
        if not self._injected:
            self._outputs = self._table
        elif self._outputs is not self._table:
            self._outputs[rows] = self._table[rows]
        self.slots.rescore(self._table, self._outputs, rows)

    def _widen(self, capacity: int) -> None:
        """Make room for rows up to `capacity`."""
        known, missing, shared = len(self.vectors), capacity - len(self.vectors), self._outputs is self._table
        table = self._table[:known]
        self._table = functional.pad(table, (0, 0, 0, missing))
        self._outputs = self._table if shared else functional.pad(self._outputs[:known], (0, 0, 0, missing))

    @torch.no_grad()
    def forget_moves(self, rows: Sequence[int]) -> None:
        """Drop the moves of rows that are free or of another item now, from all registered adapters; between passes."""
        self.slots.forget_moves(self._rows(rows))

    def hide(self, hidden: Tensor) -> None:
        """Give items the probability 0 in all passes to come, and no others.

        Args:
            hidden: (items + 1,) bool, True for the hidden ones; padding always is. Items that arrive later are not.
        """
        rows = torch.nonzero(hidden).flatten()
        self._hidden_rows = torch.cat([torch.tensor([PADDING]), rows[rows != PADDING]]).to(self._table.device)

    @torch.inference_mode()
    def states(self, contexts: Ids) -> Tensor:
        """Encode (n, length) windows: (n, length, d) states of the backbone alone."""
        hidden: Tensor = self.backbone.hidden(self.backbone.windows(contexts), self.vectors)
        return hidden

    @torch.inference_mode()
    def alone(self, states: Tensor) -> Tensor:
        """(n, items + 1) probabilities from (n, length, d) states of the backbone; the next pass overwrites them."""
        return self._probabilities(self._scores(last_states(states)))

    @torch.inference_mode()
    def probabilities(self, contexts: Ids, names: Sequence[str]) -> Tensor:
        """Score each window with one adapter.

        Args:
            contexts: (n, length) windows.
            names: (n,) registered adapter of each window.

        Returns:
            (n, items + 1) probabilities of the next item, hidden items and padding have 0. The next pass overwrites
            them.
        """
        out = self.vectors.new_empty(len(contexts), len(self.vectors))
        for rows, adapters in self._runs(names):
            scored = self._pass(contexts[rows], adapters)
            if len(rows) == len(names):
                return scored
            out[rows] = scored
        return out

    def _runs(self, names: Sequence[str]) -> Iterator[tuple[list[int], list[Active]]]:
        """Rows of a batch that are computed together, and their adapters: as many as fit the memory."""
        for run in self.slots.passes(list(dict.fromkeys(names))):
            active = dict(zip(run, self.slots.activate(run), strict=True))
            rows = [i for i, name in enumerate(names) if name in active]
            yield rows, [active[names[i]] for i in rows]

    @torch.inference_mode()
    def last(self, contexts: Ids, names: Sequence[str]) -> Tensor:
        """(n, d) last states of (n, length) windows, each under the registered adapter of one of (n,) names."""
        out = self.vectors.new_empty(len(contexts), self.vectors.shape[1])
        for rows, adapters in self._runs(names):
            slots = self._rows([adapter.slot for adapter in adapters])
            out[rows] = self._last(contexts[rows], slots, *self._text_factors(slots))
        return out

    def _pass(self, contexts: Ids, adapters: Sequence[Active]) -> Tensor:
        """(n, items + 1) probabilities of (n, length) windows, each with its adapter."""
        slots = self._rows([adapter.slot for adapter in adapters])
        text_a, text_b = self._text_factors(slots)
        states = self._last(contexts, slots, text_a, text_b)
        scores = self._scores(states)
        self._add_texts(scores, slots, torch.bmm(states.unsqueeze(1), text_b.mT).squeeze(1))
        self.slots.moved.correct(scores, states, [adapter.moved for adapter in adapters])
        return self._probabilities(scores)

    def _last(self, contexts: Ids, slots: Tensor, text_a: Tensor, text_b: Tensor) -> Tensor:
        """(n, d) last states of (n, length) windows; see `_text_factors`."""
        windows = self.backbone.windows(contexts)
        rows = windows.abs()
        read = self._read(rows, text_a, text_b)
        self.slots.moved.move(read[1:].view(*contexts.shape, -1), slots, rows)
        # The backbone looks items up by row: here each position of each window has a row of its own.
        own = np.where(contexts != PADDING, np.arange(1, contexts.size + 1).reshape(contexts.shape), PADDING)
        with self._mixing.rows(slots):
            states: Tensor = self.backbone.last(self.backbone.windows(own), read, windows)
        return states

    def _text_factors(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """(n, r, text dimensions) A and (n, r, d) scaled B' of each row's text projection; r is 0 without text."""
        if self._layout.text is None:
            return self.vectors.new_empty(len(slots), 0, 0), self.vectors.new_empty(
                len(slots), 0, self.vectors.shape[1]
            )
        out = self._buffer("text", len(slots), self._layout.text.size(self._layout.rank))
        return gather(self.slots.table, slots, self._layout.text, self._layout.rank, out)

    def _read(self, rows: Tensor, text_a: Tensor, text_b: Tensor) -> Tensor:
        """(1 + n * length, d) item vectors of all positions of (n, length) windows, padding first."""
        read = self._buffer("read", 1 + rows.numel(), self.vectors.shape[1])
        vectors = torch.index_select(self.vectors, 0, rows.flatten(), out=read[1:]).view(*rows.shape, -1)
        if self._layout.text is not None:
            texts = functional.embedding(rows, self.backbone.items.text).float()
            vectors.baddbmm_(torch.bmm(texts, text_a.mT), text_b)
        return read

    def _scores(self, states: Tensor) -> Tensor:
        """(n, items + 1 in whole lines) logits of (n, d) last states by the backbone's item vectors."""
        width = whole_lines(len(self.vectors))
        # A row ends where the items end, not the table: softmax would copy rows with gaps between them.
        memory = self._buffer("scores", len(states), self.slots.texts.shape[2]).flatten()
        scores = memory[: len(states) * width].view(len(states), width)
        torch.mm(states, self._outputs[: len(self.vectors)].T, out=scores[:, : len(self.vectors)])
        return scores

    def _add_texts(self, scores: Tensor, slots: Tensor, turned: Tensor) -> None:
        """Add to the scores, in place, the change of each row's text projection.

        Args:
            scores: (n, items + 1 or more) logits.
            slots: (n,) slot of each row's adapter.
            turned: (n, r) states times B' of the text projection: weights of the r rows that the slot has for the
                whole catalogue.
        """
        rank = turned.shape[1]
        if self._layout.text is not None:
            rows = slots.unsqueeze(1) * rank + torch.arange(rank, device=slots.device)
            texts = self.slots.texts.flatten(0, 1)[:, : scores.shape[1]]
            scores.addmm_(compressed(torch.full_like(slots, rank), rows.flatten(), turned.flatten(), len(texts)), texts)

    def _probabilities(self, scores: Tensor) -> Tensor:
        """(n, items + 1) probabilities of (n, items + 1 or more) logits, in their memory; hidden items have 0."""
        items = len(self.vectors)
        scores.index_fill_(1, self._hidden_rows, -torch.inf)
        # The fill of a row takes part, with probability 0: without it rows would have to be copied first.
        scores[:, items:] = -torch.inf
        return torch.softmax(scores, dim=1, out=scores)[:, :items]

    def _rows(self, rows: Sequence[int]) -> Tensor:
        """(m,) whole numbers as a tensor beside the tables."""
        return torch.tensor(rows, dtype=torch.int64, device=self._table.device)

    def _buffer(self, name: str, rows: int, width: int) -> Tensor:
        """(rows, width) memory that all passes share, 0 at first: allocation costs more than filling it."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < rows or buffer.shape[1] < width:
            buffer = self._buffers[name] = self.vectors.new_zeros(rows, width)
        return buffer[:rows]
