"""Catalogue of items: row numbers, texts and text embeddings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline.events.item import Item
from pipeline.models.text import TextEncoder
from pipeline.models.text_vectors import Stored


@dataclass(frozen=True)
class Catalogue:
    """Items in row order; row 0 is padding, item i has row i + 1.

    Attributes:
        item_ids: id of each.
        texts: title and description of each, "" without.
        vectors: (items, t) text embeddings, as a set-up holds them; t = 0 where the log has no text.
        encoder: identity of the text encoder, "" without one.
    """

    item_ids: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: Stored
    encoder: str

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of every item id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids, start=1)}

    @cached_property
    def sha256(self) -> str:
        """Hash over ids and embeddings, in row order."""
        digest = hashlib.sha256("\x1f".join(self.item_ids).encode("utf-8", "surrogatepass"))
        digest.update(self.vectors.tobytes())
        return digest.hexdigest()

    def first(self, items: int) -> "Catalogue":
        """The first so many items."""
        return replace(self, item_ids=self.item_ids[:items], texts=self.texts[:items], vectors=self.vectors[:items])

    def __len__(self) -> int:
        return len(self.item_ids)


def make_catalogue(item_ids: Sequence[str], items: Mapping[str, Item], encoder: TextEncoder | None) -> Catalogue:
    """Make a catalogue.

    Args:
        item_ids: in row order.
        items: records of items, by id.
        encoder: turns texts into vectors; None for a catalogue of ids alone.
    """
    texts = tuple(items[i].text if i in items else "" for i in item_ids)
    if encoder is None or not any(texts):
        return Catalogue(tuple(item_ids), texts, np.zeros((len(item_ids), 0), dtype=np.float32), "")
    return Catalogue(tuple(item_ids), texts, encoder.encode(texts), encoder.identity)
