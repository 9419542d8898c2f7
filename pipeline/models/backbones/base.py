"""Base class of all backbones: item table, encoding, scoring and fingerprint.

A backbone is a `transformers` model, so that peft can wrap it. It reads a window of catalogue rows and
scores the whole catalogue with the same item vectors that it reads (tied input and output).
"""

import hashlib
from abc import abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

from pipeline.config import BackboneSettings
from pipeline.events.windows import PADDING
from pipeline.models.catalogue import Catalogue


class ItemTable(nn.Module):
    """Item vectors: a row of its own for each item plus a projection of its text embedding.

    An item without interactions so far has a zero row and is represented by its text alone.

    Attributes:
        rows: (items + 1, d) one row for each item, row 0 for padding.
        projection: text dimensions -> d, or None where the log has no text.
        text: (items + 1, text dimensions) frozen text embeddings, not part of the weights.
    """

    text: Tensor

    def __init__(self, items: int, dimensions: int, text_dimensions: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(items + 1, dimensions)
        self.projection = nn.Linear(text_dimensions, dimensions, bias=False) if text_dimensions else None
        self.register_buffer("text", torch.zeros(items + 1, text_dimensions), persistent=False)
        self._latest: tuple[Tensor, Tensor] | None = None

    def forward(self, rows: Tensor) -> Tensor:
        """(...,) catalogue rows to (..., d) item vectors."""
        vectors: Tensor = self.rows(rows)
        if self.projection is not None:
            vectors = vectors + self.projection(self._texts(rows))
        return vectors

    def _texts(self, rows: Tensor) -> Tensor:
        """(..., text dimensions) of rows: the same tensor while training reads the same rows, step after step."""
        if not self.training:
            self._latest = None
            return self.text[rows]
        if self._latest is None or not torch.equal(self._latest[0], rows):
            self._latest = rows, self.text[rows]
        return self._latest[1]

    def all(self) -> Tensor:
        """(items + 1, d) the vector of every catalogue row, padding included."""
        vectors: Tensor = self(torch.arange(self.rows.weight.shape[0], device=self.rows.weight.device))
        return vectors


class Backbone(PreTrainedModel):
    """Sequence model over windows of catalogue rows.

    Subclasses implement `from_settings` and `hidden`.

    Attributes:
        items: the item table.
        adapter_targets: names of the linear layers that an adapter may change.
        informed_rows: True if item rows are meaningful before training, as those of a language model are; otherwise
            items outside the training windows get a zero row.
    """

    items: ItemTable
    adapter_targets: tuple[str, ...]
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

    def last(self, windows: Tensor, vectors: Tensor) -> Tensor:
        """(n, d) the last position of `hidden`, computed without the other positions where the model allows it."""
        return last_states(self.hidden(windows, vectors))

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


def fingerprint(model: Backbone) -> str:
    """sha256 over the names, shapes and bytes of all weights and of the text embeddings."""
    digest = hashlib.sha256()
    named: dict[str, Any] = dict(model.state_dict())
    named["items.text"] = model.items.text
    for name in sorted(named):
        tensor = named[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
