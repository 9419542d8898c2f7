"""Adapters in the form of a mixed batch: factors that can be stacked, and moves of item rows.

An adapter of rank r adds x A' B' s to a linear layer with input x, likewise to the text projection, and replaces the
rows of some items. Tensors are found by their full name, never by a substring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters_store.errors import AdapterRefused
from pipeline.config import AdapterSettings
from pipeline.models.backbones.base import Backbone
from pipeline.models.lora.tensors import difference

_PREFIX = "base_model.model."
_ROWS = f"{_PREFIX}items.rows.token_adapter.trainable_tokens_delta"
_TEXT = "items.projection"

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class LayerSlice:
    """Slice of an adapter's packed factors that belongs to one linear layer.

    Attributes:
        name: name of the layer inside the backbone.
        start: index of the first of r x in numbers of A; the r x out numbers of B follow.
        width_in: input width of the layer.
        width_out: its output width.
    """

    name: str
    start: int
    width_in: int
    width_out: int

    def size(self, rank: int) -> int:
        """Length of the slice for factors of a rank."""
        return rank * (self.width_in + self.width_out)


@dataclass(frozen=True)
class Layout:
    """Layout of the packed factors of a backbone's adapters; the same for all regions.

    Attributes:
        rank: rank of the factors.
        scale: alpha / rank, folded into B when factors are packed.
        layers: slices of the adapted linear layers of the backbone, in order.
        text: slice of the adapted text projection, or None.
        size: number of packed numbers of one adapter.
    """

    rank: int
    scale: float
    layers: tuple[LayerSlice, ...]
    text: LayerSlice | None
    size: int


def layout_of(backbone: Backbone, settings: AdapterSettings) -> Layout:
    """Lay out the factors of a backbone's adapters.

    Args:
        backbone: without adapters, as it was set up.
        settings: section `adapter` that every adapter was trained with.
    """
    targets = backbone.adapter_targets
    slices: list[LayerSlice] = []
    start = 0
    named = [(n, m) for n, m in backbone.named_modules() if n.split(".")[-1] in targets and hasattr(m, "weight")]
    if settings.text_projection and backbone.items.projection is not None:
        named.append((_TEXT, backbone.items.projection))
    for name, module in named:
        slices.append(LayerSlice(name, start, *widths(module)))
        start += slices[-1].size(settings.rank)
    text = slices.pop() if slices and slices[-1].name == _TEXT else None
    return Layout(settings.rank, settings.alpha / settings.rank, tuple(slices), text, start)


def widths(module: nn.Module) -> tuple[int, int]:
    """Input and output width of a linear layer."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    # GPT-2 and similar models keep their weights transposed.
    weight: Any = module.weight
    return int(weight.shape[0]), int(weight.shape[1])


@dataclass(frozen=True)
class Factors:
    """Factors and moves of one adapter, to be stacked with those of others.

    Attributes:
        packed: (layout.size,) A and scaled, transposed B of every layer.
        rows: (m,) sorted catalogue rows that it moved.
        moves: (m, d) difference of each of them to the backbone's row.
    """

    packed: Tensor
    rows: Tensor
    moves: Tensor

    @property
    def bytes(self) -> int:
        """Bytes of memory."""
        return self.packed.nbytes + self.rows.nbytes + self.moves.nbytes

    def without(self, forgotten: Tensor) -> "Factors":
        """Same factors without the moves that are True in (m,) `forgotten`."""
        return Factors(self.packed, self.rows[~forgotten], self.moves[~forgotten])


def make_factors(name: str, tensors: Tensors, rows: Sequence[int], layout: Layout, item_rows: Tensor) -> Factors:
    """Pack an adapter's tensors, as `AdapterHost.tensors` returns and the store keeps them.

    Args:
        name: version of the adapter, for the error message.
        tensors: tensors by peft's names.
        rows: catalogue rows that the adapter moves, as its configuration lists them.
        layout: layout of its backbone.
        item_rows: (items + 1, d) item rows of the backbone.

    Raises:
        AdapterRefused: `wrong_tensors`, the tensors do not fit this backbone.
    """
    expected = _shapes(layout, len(rows), item_rows.shape[1])
    given = {key: value.shape for key, value in tensors.items()}
    if given != expected:
        raise AdapterRefused("wrong_tensors", difference(name, given, expected))
    if rows and not 0 <= min(rows) <= max(rows) < len(item_rows):
        raise AdapterRefused("wrong_tensors", f"{name} moves items outside the catalogue of {len(item_rows) - 1} items")
    packed = item_rows.new_empty(layout.size)
    for layer in _slices(layout):
        a, b = views(packed, layer, layout.rank)
        a.copy_(torch.from_numpy(np.asarray(tensors[_key(layer.name, "A")])))
        b.copy_(torch.from_numpy(np.asarray(tensors[_key(layer.name, "B")])).T * layout.scale)
    order = np.argsort(np.asarray(rows, dtype=np.int64), kind="stable")
    sorted_rows = torch.from_numpy(np.asarray(rows, dtype=np.int64)[order]).to(packed.device)
    own = torch.from_numpy(np.asarray(tensors[_ROWS], dtype=np.float32)[order]).to(packed.device)
    return Factors(packed, sorted_rows, own - item_rows[sorted_rows])


def _slices(layout: Layout) -> tuple[LayerSlice, ...]:
    return layout.layers if layout.text is None else (*layout.layers, layout.text)


def _shapes(layout: Layout, rows: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {_ROWS: (rows, width)}
    for layer in _slices(layout):
        shapes[_key(layer.name, "A")] = (layout.rank, layer.width_in)
        shapes[_key(layer.name, "B")] = (layer.width_out, layout.rank)
    return shapes


def _key(layer: str, factor: str) -> str:
    return f"{_PREFIX}{layer}.lora_{factor}.weight"


def views(packed: Tensor, layer: LayerSlice, rank: int) -> tuple[Tensor, Tensor]:
    """(..., r, in) A and (..., r, out) scaled B' of one layer among (..., size) packed numbers."""
    return split(packed[..., layer.start : layer.start + layer.size(rank)], layer, rank)


def split(numbers: Tensor, layer: LayerSlice, rank: int) -> tuple[Tensor, Tensor]:
    """Split the (..., layer.size(rank)) numbers of one layer into (..., r, in) A and (..., r, out) scaled B'."""
    a, b = numbers.split((rank * layer.width_in, rank * layer.width_out), dim=-1)
    return a.unflatten(-1, (rank, layer.width_in)), b.unflatten(-1, (rank, layer.width_out))
