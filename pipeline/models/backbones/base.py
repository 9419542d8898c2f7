"""Base class of all backbones: item table, encoding, scoring and fingerprint.

A backbone is a `transformers` model, so that peft can wrap it. It reads a window of catalogue rows and
scores the whole catalogue with the same item vectors that it reads (tied input and output).
"""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

from pipeline.config import BackboneSettings
from pipeline.errors import BackboneError
from pipeline.events.windows import PADDING
from pipeline.models.catalogue import Catalogue
from pipeline.models.placement import NONE, Placement
from pipeline.models.quantization import dequantize, is_quantized, plain_tensors, quantize
from pipeline.models.text_vectors import TextVectors

BLOCK = 256
"""Rows whose vectors are computed together, always in the same shape: a row's vector does not depend on others."""


class ItemTable(nn.Module):
    """Item vectors: a row of its own for each item plus a projection of its text embedding.

    An item without interactions so far has a zero row and is represented by its text alone. The table grows with the
    catalogue, a block at a time.

    Attributes:
        rows: (capacity, d) one row for each item, row 0 for padding; more rows than items once it has grown.
        projection: text dimensions -> d, or None where the log has no text.
        text: (capacity, text dimensions) frozen text embeddings in float32 or float16, not part of the weights.
        last: highest row in use.
    """

    text: Tensor

    def __init__(self, items: int, dimensions: int, text_dimensions: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(items + 1, dimensions)
        self.projection = nn.Linear(text_dimensions, dimensions, bias=False) if text_dimensions else None
        self.register_buffer("text", torch.zeros(items + 1, text_dimensions), persistent=False)
        self.last = items
        self._latest: tuple[Tensor, Tensor] | None = None
        self._readable: TextVectors | None = None

    @property
    def capacity(self) -> int:
        """Number of rows, padding included."""
        return len(self.text)

    def resize(self, items: int) -> None:
        """Use catalogue rows up to `items`, with room in whole blocks; rows stay, new ones are zero."""
        self.last = items
        self._readable = None
        # A large table grows by more than it needs, because growing copies it.
        wanted = max(items + 1, self.capacity + self.capacity // 8) if items >= self.capacity else items + 1
        missing = -(-wanted // BLOCK) * BLOCK - self.capacity
        if missing > 0:
            weight = self.rows.weight
            weight.data = functional.pad(weight.data, (0, 0, 0, missing))
            self.text = functional.pad(self.text, (0, 0, 0, missing))

    def hold_texts(self, precision: torch.dtype) -> None:
        """Hold text embeddings in float32 or float16."""
        self.text = self.text.to(precision)
        self._readable = None

    def set(self, row: int, text: Tensor, own: Tensor | None = None) -> None:
        """Write the (t,) text embedding of a row, and its own (d,) row unless that stays."""
        self.text[row] = text
        self._readable = None
        if own is not None:
            self.rows.weight.data[row] = own

    def forward(self, rows: Tensor) -> Tensor:
        """(...,) catalogue rows to (..., d) item vectors."""
        vectors: Tensor = self.rows(rows)
        if self.projection is not None:
            vectors = vectors + self.projection(self._texts(rows))
        return vectors

    def readable_texts(self) -> TextVectors:
        """Text embeddings of all rows, copied where they lie on another device."""
        if self._readable is None:
            self._readable = TextVectors(self.text.cpu().numpy())
        return self._readable

    def _texts(self, rows: Tensor) -> Tensor:
        """(..., text dimensions) of rows: the same tensor while training reads the same rows, step after step."""
        if not self.training:
            self._latest = None
            return self.text[rows].float()
        if self._latest is None or not torch.equal(self._latest[0], rows):
            self._latest = rows, self.text[rows].float()
        return self._latest[1]

    def all(self) -> Tensor:
        """(items + 1, d) the vector of every catalogue row in use, padding included."""
        vectors: Tensor = self(torch.arange(self.last + 1, device=self.text.device))
        return vectors

    def blocks(self, numbers: Sequence[int]) -> Tensor:
        """(len(numbers) * BLOCK, d) vectors of whole blocks; each is the same whichever others are asked for.

        The table must have been resized to whole blocks.
        """
        starts = [number * BLOCK for number in numbers]
        rows = torch.cat([torch.arange(start, start + BLOCK, device=self.text.device) for start in starts])
        vectors: Tensor = self.rows(rows).clone()
        if self.projection is not None:
            for place, start in enumerate(starts):
                texts = self.text[start : start + BLOCK].float()
                vectors[place * BLOCK : (place + 1) * BLOCK] += self.projection(texts)
        return vectors


class Backbone(PreTrainedModel):
    """Sequence model over windows of catalogue rows.

    Subclasses implement `from_settings` and `hidden`.

    Attributes:
        items: the item table.
        adapter_targets: names of the linear layers that an adapter may change.
        tokenizer: of the language model, None without one; saved with the weights.
        precision: of all weights but those of the item table, which are float32, like vectors and states.
        quantization: of its linear layers, see `Placement`.
        informed_rows: True if item rows are meaningful before training, as those of a language model are; otherwise
            items outside the training windows get a zero row.
    """

    items: ItemTable
    adapter_targets: tuple[str, ...]
    tokenizer: Any = None
    precision: torch.dtype = torch.float32
    quantization: str = NONE
    informed_rows: ClassVar[bool] = False

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: BackboneSettings, length: int, catalogue: Catalogue) -> Self:
        """Untrained backbone over a catalogue.

        Args:
            settings: shape, or the language model to wrap.
            length: items in a window.
            catalogue: its text embeddings are set by the caller.

        Raises:
            BackboneError: the language model cannot be loaded.
        """

    @abstractmethod
    def hidden(self, windows: Tensor, vectors: Tensor) -> Tensor:
        """(n, length) rows and (items + 1, d) item vectors to (n, length, d) states.

        The last position predicts the next item.
        """

    def last(self, windows: Tensor, vectors: Tensor, rows: Tensor | None = None) -> Tensor:
        """(n, d) the last position of `hidden`, computed without the other positions where the model allows it.

        Args:
            windows: (n, length) indices of `vectors`, 0 for padding.
            vectors: (m, d) item vectors.
            rows: (n, length) catalogue rows of the windows, where `windows` index other vectors than the catalogue's:
                those of the rows that occur, or one for each position.
        """
        del rows
        return last_states(self.hidden(windows, vectors))

    def place(self, placement: Placement) -> Self:
        """Move everything to a device, convert the weights, without adapters, and quantise linear layers; in place.

        Raises:
            BackboneError: this architecture has no linear layers that can be quantised.
        """
        if placement.quantization == NONE and self.quantization != NONE:
            dequantize(self.quantizable())
        for name, parameter in self.named_parameters():
            if not name.startswith("items.") and not is_quantized(parameter):
                parameter.data = parameter.data.to(placement.precision)
        self.to(placement.device)  # type: ignore[arg-type]
        if placement.quantization not in (self.quantization, NONE):
            quantize(self.quantizable())
        self.precision, self.quantization = placement.precision, placement.quantization
        return self

    def quantizable(self) -> nn.Module:
        """The part whose linear layers can be quantised.

        Raises:
            BackboneError: there is none.
        """
        raise BackboneError(f"a {type(self).__name__} cannot be quantised: set compute.quantization to none")

    @property
    def placement(self) -> Placement:
        """Its device, precision and quantisation."""
        return Placement(self.device, self.precision, self.quantization)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all its weights."""
        return sum(tensor.nbytes for tensor in plain_tensors(dict(self.named_parameters())).values())

    def windows(self, contexts: NDArray[np.int64]) -> Tensor:
        """(...,) catalogue rows as a tensor on its device."""
        return torch.from_numpy(contexts).to(self.device)

    def keep_activations(self, keep: bool) -> None:
        """Keep the activations of a training step, or compute them again in its backward pass.

        Raises:
            BackboneError: this architecture always keeps them.
        """
        if not keep:
            raise BackboneError(
                f"a {type(self).__name__} keeps its activations: set setup.gradient_checkpointing=false"
            )

    def own_row(self, text: str) -> Tensor:
        """(d,) row of an item that was never trained on, from its text: zero without a tokenizer."""
        del text
        return torch.zeros(self.items.rows.weight.shape[1])

    def set_item(self, row: int, text: str, vector: Tensor, *, keep_row: bool) -> None:
        """Describe the item of a catalogue row.

        Args:
            row: one that the item table has.
            text: of the item, "" without.
            vector: (t,) text embedding.
            keep_row: True if the table keeps the item's own row, as training left it.
        """
        self.items.set(row, vector, None if keep_row else self.own_row(text))

    def item_texts(self) -> dict[str, Tensor]:
        """All that is known of item texts, by name: tensors that are saved beside the weights."""
        return {"text": self.items.text}

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """(n, length) rows to the (n, length, d) states and the (items + 1, d) item vectors used."""
        vectors = self.items.all()
        return self.hidden(windows, vectors), vectors


def last_states(states: Tensor) -> Tensor:
    """(n, length, d) states to (n, d): the position that predicts the next item."""
    return states[:, -1]


def mean_states(states: Tensor, windows: Tensor) -> Tensor:
    """(n, length or more, d) states to (n, d) unit vectors: the mean over a window's items.

    An empty window has no items and is represented by its last state.
    """
    mask = (windows != PADDING).to(states.dtype).unsqueeze(-1)
    mean = (states[:, : windows.shape[1]] * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
    empty = windows[:, -1:] == PADDING
    return functional.normalize(torch.where(empty, last_states(states), mean), dim=-1)


def fingerprint(model: Backbone, encoder: str) -> str:
    """sha256 over the names, shapes and bytes of all weights, and the identity of the text encoder.

    Texts are not part of it: items come and go, and adapters stay valid.
    """
    digest = hashlib.sha256(f"encoder {encoder}".encode())
    return _digest(digest, plain_tensors(model.state_dict()))


def fingerprint_with_texts(model: Backbone) -> str:
    """Fingerprint of backbones that were saved when it covered the text embeddings of all items."""
    return _digest(hashlib.sha256(), {**model.state_dict(), "items.text": model.items.text})


def _digest(digest: Any, named: Mapping[str, Tensor]) -> str:
    for name in sorted(named):
        tensor = named[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        # numpy has no bfloat16.
        readable = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
        digest.update(readable.numpy().tobytes())
    found: str = digest.hexdigest()
    return found
