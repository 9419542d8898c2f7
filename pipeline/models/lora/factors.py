"""What an adapter amounts to in a batch that mixes regions: factors that can be stacked, and corrections.

An adapter of rank r changes a linear layer by x A' B' s, the text projection likewise, and gives some items
rows of their own. Nothing here is looked up by substring: a tensor is found by its full name.
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
from pipeline.models.lora.host import difference

_PREFIX = "base_model.model."
_ROWS = f"{_PREFIX}items.rows.token_adapter.trainable_tokens_delta"
_TEXT = "items.projection"

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Place:
    """Where the factors of one linear layer lie among the packed ones of an adapter.

    Attributes:
        name: of the layer inside the backbone.
        start: first of r x in numbers of A; the r x out of B follow.
        width_in, width_out: of the layer.
    """

    name: str
    start: int
    width_in: int
    width_out: int

    def size(self, rank: int) -> int:
        """Numbers that the factors take."""
        return rank * (self.width_in + self.width_out)


@dataclass(frozen=True)
class Layout:
    """What an adapter of a backbone holds; the same for all regions.

    Attributes:
        rank: of the factors.
        scale: alpha / rank, folded into B when factors are packed.
        layers: the adapted linear layers of the backbone, in order.
        text: the adapted text projection, or None.
        size: packed numbers of one adapter.
    """

    rank: int
    scale: float
    layers: tuple[Place, ...]
    text: Place | None
    size: int


def layout_of(backbone: Backbone, settings: AdapterSettings) -> Layout:
    """Lay out the adapters of a backbone, which carries none itself.

    Args:
        backbone: as it was set up.
        settings: section `adapter`, the one that every adapter was trained with.
    """
    targets = backbone.adapter_targets
    places: list[Place] = []
    start = 0
    named = [(n, m) for n, m in backbone.named_modules() if n.split(".")[-1] in targets and hasattr(m, "weight")]
    if settings.text_projection and backbone.items.projection is not None:
        named.append((_TEXT, backbone.items.projection))
    for name, module in named:
        places.append(Place(name, start, *_widths(module)))
        start += places[-1].size(settings.rank)
    text = places.pop() if places and places[-1].name == _TEXT else None
    return Layout(settings.rank, settings.alpha / settings.rank, tuple(places), text, start)


def _widths(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    # GPT-2 and its like keep their weights transposed.
    weight: Any = module.weight
    return int(weight.shape[0]), int(weight.shape[1])


@dataclass(frozen=True)
class Factors:
    """One adapter, ready to be stacked with others.

    Attributes:
        packed: (layout.size,) A and scaled, transposed B of every layer.
        rows: (m,) sorted catalogue rows that it moved.
        moves: (m, d) by how much each of them moved.
    """

    packed: Tensor
    rows: Tensor
    moves: Tensor

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.packed.nbytes + self.rows.nbytes + self.moves.nbytes


def make_factors(name: str, tensors: Tensors, rows: Sequence[int], layout: Layout, item_rows: Tensor) -> Factors:
    """Read an adapter's tensors, as `AdapterHost.tensors` gives and the store keeps them.

    Args:
        name: its version, for the message.
        tensors: by peft's names.
        rows: catalogue rows that it has of its own, as its configuration lists them.
        layout: of its backbone.
        item_rows: (items + 1, d) the backbone's own rows.

    Raises:
        AdapterRefused: `wrong_tensors`, they are not those of an adapter of this backbone.
    """
    expected = _shapes(layout, len(rows), item_rows.shape[1])
    given = {key: value.shape for key, value in tensors.items()}
    if given != expected:
        raise AdapterRefused("wrong_tensors", difference(name, given, expected))
    if rows and not 0 <= min(rows) <= max(rows) < len(item_rows):
        raise AdapterRefused("wrong_tensors", f"{name} moves items that the catalogue of {len(item_rows) - 1} has not")
    packed = torch.empty(layout.size)
    for place in _places(layout):
        a, b = views(packed, place, layout.rank)
        a.copy_(torch.from_numpy(np.asarray(tensors[_key(place.name, "A")])))
        b.copy_(torch.from_numpy(np.asarray(tensors[_key(place.name, "B")])).T * layout.scale)
    order = np.argsort(np.asarray(rows, dtype=np.int64), kind="stable")
    kept = torch.from_numpy(np.asarray(rows, dtype=np.int64)[order])
    own = torch.from_numpy(np.asarray(tensors[_ROWS], dtype=np.float32)[order])
    return Factors(packed, kept, own - item_rows[kept])


def _places(layout: Layout) -> tuple[Place, ...]:
    return layout.layers if layout.text is None else (*layout.layers, layout.text)


def _shapes(layout: Layout, rows: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {_ROWS: (rows, width)}
    for place in _places(layout):
        shapes[_key(place.name, "A")] = (layout.rank, place.width_in)
        shapes[_key(place.name, "B")] = (place.width_out, layout.rank)
    return shapes


def _key(layer: str, factor: str) -> str:
    return f"{_PREFIX}{layer}.lora_{factor}.weight"


def views(packed: Tensor, place: Place, rank: int) -> tuple[Tensor, Tensor]:
    """(..., r, in) A and (..., r, out) scaled B' of one layer among (..., size) packed numbers."""
    return split(packed[..., place.start : place.start + place.size(rank)], place, rank)


def split(numbers: Tensor, place: Place, rank: int) -> tuple[Tensor, Tensor]:
    """The same from the (..., place.size(rank)) numbers of that layer alone."""
    a, b = numbers.split((rank * place.width_in, rank * place.width_out), dim=-1)
    return a.unflatten(-1, (rank, place.width_in)), b.unflatten(-1, (rank, place.width_out))
