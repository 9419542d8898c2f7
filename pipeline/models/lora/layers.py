"""Linear layers of a backbone that add to each row of a batch the low-rank change of its adapter."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.models.lora.factors import LayerSlice, Layout, split


class Mixing:
    """Assignment of adapters to the rows of a pass, and their factors layer by layer.

    The factors of a layer are gathered when the layer runs, into memory that all layers share. Those of all layers
    together do not fit a processor's cache: they would be written to memory and read again.

    Args:
        layout: layout of the adapters.
        table: (slots, layout.size) packed factors of the active adapters.
    """

    def __init__(self, layout: Layout, table: Tensor) -> None:
        self._layout, self._table = layout, table
        self._slots: Tensor | None = None
        self._gathered = table.new_empty(0)

    @property
    def idle(self) -> bool:
        """True while no row has an adapter."""
        return self._slots is None

    @contextmanager
    def rows(self, slots: Tensor) -> Iterator[None]:
        """Give row i the adapter in `slots[i]` until the context ends."""
        widest = max((layer.size(self._layout.rank) for layer in self._layout.layers), default=0)
        if self._gathered.numel() < len(slots) * widest:
            self._gathered = self._table.new_empty(len(slots) * widest)
        self._slots = slots
        try:
            yield
        finally:
            self._slots = None

    def factors(self, layer: LayerSlice) -> tuple[Tensor, Tensor]:
        """(n, r, in) A and (n, r, out) scaled B' of a layer for all rows; the next layer overwrites them."""
        assert self._slots is not None
        size = layer.size(self._layout.rank)
        out = self._gathered[: len(self._slots) * size].view(-1, size)
        return gather(self._table, self._slots, layer, self._layout.rank, out)


def gather(table: Tensor, slots: Tensor, layer: LayerSlice, rank: int, out: Tensor) -> tuple[Tensor, Tensor]:
    """(n, r, in) A and (n, r, out) scaled B' of one layer for n rows, copied into (n, layer.size(rank)) `out`."""
    numbers = table[:, layer.start : layer.start + layer.size(rank)]
    return split(torch.index_select(numbers, 0, slots, out=out), layer, rank)


class MixedLinear(nn.Module):
    """Linear layer of the backbone plus, for each row of the batch, the low-rank change of its adapter."""

    def __init__(self, base: nn.Module, layer: LayerSlice, mixing: Mixing) -> None:
        super().__init__()
        self.base = base
        self._slice, self._mixing = layer, mixing

    def forward(self, states: Tensor) -> Tensor:
        """(n, length, in) to (n, length, out)."""
        out: Tensor = self.base(states)
        if self._mixing.idle:
            return out
        a, b = self._mixing.factors(self._slice)
        # Factors are float32, whatever the precision of the backbone.
        mixed = out.to(a.dtype).baddbmm_(torch.bmm(states.to(a.dtype), a.mT), b)
        return mixed.to(out.dtype)
