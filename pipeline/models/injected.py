"""Injected items: output vectors for items that set-up does not know, the tensors of a version of region 0.

A backbone reads and scores an item by one vector. Injection replaces only the vector that scores: windows are read as
before, so that the states of users who took a new item stay those that set-up has trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused

OUTPUTS = "items.outputs"
"""Name of the only tensor of a version."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class InjectedItems:
    """Output vectors of items, by id.

    Attributes:
        items: ids, the longest unchanged first.
        vectors: (n, d) one for each.
    """

    items: Sequence[str]
    vectors: Vectors

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Index of each item in `items` and `vectors`."""
        return {item: place for place, item in enumerate(self.items)}

    @classmethod
    def none(cls, width: int) -> Self:
        """No item, of (0, d) vectors."""
        return cls((), np.zeros((0, width), dtype=np.float32))

    @classmethod
    def from_tensors(
        cls, name: str, config: Mapping[str, object], tensors: Mapping[str, NDArray[Any]], width: int
    ) -> Self:
        """Read a version.

        Args:
            name: of the version, for the message.
            config: its configuration.
            tensors: its tensors.
            width: d of the backbone.

        Raises:
            AdapterRefused: `bad_config` or `wrong_tensors`, it does not hold one vector of this width for each item.
        """
        items = config.get("items")
        if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
            raise AdapterRefused("bad_config", f"{name}: its configuration does not list the items it injects")
        if set(tensors) != {OUTPUTS} or tensors[OUTPUTS].shape != (len(items), width):
            shapes = {key: value.shape for key, value in tensors.items()}
            raise AdapterRefused(
                "wrong_tensors",
                f"{name} holds {shapes}, not {OUTPUTS} of {(len(items), width)}",
            )
        return cls(tuple(items), np.asarray(tensors[OUTPUTS], dtype=np.float32))

    def to_tensors(self) -> dict[str, Vectors]:
        """Tensors of a version."""
        return {OUTPUTS: self.vectors}

    def to_config(self) -> dict[str, object]:
        """Configuration of a version."""
        return {"items": list(self.items)}

    def updated(self, newer: "InjectedItems") -> "InjectedItems":
        """These vectors, replaced by or joined with newer ones, which come last."""
        changed = set(newer.items)
        kept = [place for place, item in enumerate(self.items) if item not in changed]
        items = [self.items[place] for place in kept]
        return InjectedItems((*items, *newer.items), np.concatenate([self.vectors[kept], newer.vectors]))

    def newest(self, most: int) -> "InjectedItems":
        """At most so many items, those that changed last."""
        start = max(0, len(self.items) - most)
        return InjectedItems(self.items[start:], self.vectors[start:])

    def known(self, row_of: Mapping[str, int]) -> tuple[list[int], Vectors]:
        """Catalogue rows of the items that a process knows, and their (m, d) vectors."""
        places = [place for place, item in enumerate(self.items) if item in row_of]
        return [row_of[self.items[place]] for place in places], self.vectors[places]

    def __len__(self) -> int:
        return len(self.items)


class InjectedVersions:
    """Versions of injected items in a store; those in force stay in memory.

    Args:
        store: has the versions.
        backbone_sha256: fingerprint of the backbone that they must fit.
        width: d of the backbone.
    """

    def __init__(self, store: AdaptersStore, backbone_sha256: str, width: int) -> None:
        self._store, self._backbone_sha256, self._width = store, backbone_sha256, width
        self._parts: dict[str, InjectedItems] = {}

    def load(self, names: Sequence[str]) -> InjectedItems:
        """Injected items of versions in order: where two name the same item, the later one holds.

        Raises:
            AdapterRefused: a version is damaged, missing or does not fit.
            StoreError: the store cannot be read.
        """
        self._parts = {name: self._parts.get(name) or self._read(name) for name in names}
        total = InjectedItems.none(self._width)
        for part in self._parts.values():
            total = total.updated(part)
        return total

    def _read(self, name: str) -> InjectedItems:
        loaded = self._store.load(name, backbone_sha256=self._backbone_sha256)
        return InjectedItems.from_tensors(name, loaded.config, loaded.tensors, self._width)
