"""Linear layers of a backbone that give each row of a batch the low-rank change of its own adapter."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.models.lora.factors import Layout, Place, split


class Mixing:
    """Which adapter each row of a pass has, and their factors layer by layer.

    A layer's factors are gathered when it is their turn, into memory that all layers share. Those of all layers
    together do not fit a processor's cache: they would be written to memory and read again.

    Args:
        layout: of the adapters.
        table: (slots, layout.size) packed factors of the active adapters.
    """

    def __init__(self, layout: Layout, table: Tensor) -> None:
        self._layout, self._table = layout, table
        self._slots: Tensor | None = None
        self._gathered = torch.empty(0)

    @property
    def idle(self) -> bool:
        """True while the backbone is alone."""
        return self._slots is None

    @contextmanager
    def rows(self, slots: Tensor) -> Iterator[None]:
        """Give row i the adapter in `slots[i]` for as long as the context lasts."""
        widest = max((place.size(self._layout.rank) for place in self._layout.layers), default=0)
        if self._gathered.numel() < len(slots) * widest:
            self._gathered = torch.empty(len(slots) * widest)
        self._slots = slots
        try:
            yield
        finally:
            self._slots = None

    def factors(self, place: Place) -> tuple[Tensor, Tensor]:
        """(n, r, in) A and (n, r, out) scaled B' of a layer for all rows; the next layer overwrites them."""
        assert self._slots is not None
        size = place.size(self._layout.rank)
        kept = self._gathered[: len(self._slots) * size].view(-1, size)
        return gather(self._table, self._slots, place, self._layout.rank, kept)


def gather(table: Tensor, slots: Tensor, place: Place, rank: int, out: Tensor) -> tuple[Tensor, Tensor]:
    """(n, r, in) A and (n, r, out) scaled B' of one layer for n rows, copied into (n, place.size(rank)) `out`."""
    numbers = table[:, place.start : place.start + place.size(rank)]
    return split(torch.index_select(numbers, 0, slots, out=out), place, rank)


class MixedLinear(nn.Module):
    """A linear layer of the backbone, and for each row of the batch the low-rank change of its adapter."""

    def __init__(self, base: nn.Module, place: Place, mixing: Mixing) -> None:
        super().__init__()
        self.base = base
        self._place, self._mixing = place, mixing

    def forward(self, states: Tensor) -> Tensor:
        """(n, length, in) to (n, length, out)."""
        out: Tensor = self.base(states)
        if self._mixing.idle:
            return out
        a, b = self._mixing.factors(self._place)
        return out.baddbmm_(torch.bmm(states, a.mT), b)
