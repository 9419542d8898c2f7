"""Retrieval over a large catalogue: the best items under backbone and adapters, and the mass of all others.

One index has the vectors that score under the backbone, each adapter in force has one of its own with the same cells,
and one has text embeddings. What an index finds is scored exactly. The items that are not found count in the normaliser
by a sample:

    Z = sum over the found of exp(score) + items / sample size * sum over the others of the sample of exp(score)

The sample depends on the ids of the items that exist, and on nothing else.
"""

import math
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array, Vectors, is_among
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.models.text_vectors import BLOCK
from pipeline.retrieval.adapted_items import AdaptedItems, OwnVectors
from pipeline.retrieval.item_index import NONE, ItemIndex
from pipeline.retrieval.scored_items import ScoredItems, add_texts

FOUND = 512
"""Items that are found for a window under the backbone or an adapter."""

TEXTS_FOUND = 512
"""Items whose texts are found to be like a window's."""

COMPARED = 4_096
"""Items that a request admits up to which all of them are scored."""

SAMPLED = 4_096
"""Least number of items of the sample, in a catalogue that has so many; it has fewer than twice as many."""


T = TypeVar("T", bound=np.generic)


class KnownItems(NamedTuple):
    """Items and windows of set-up, as it left them: the cells follow from them alone.

    Attributes:
        vectors: (m, d) item vectors of the backbone.
        texts: (m, t) text embeddings.
        states: (q, d) last states of the backbone after held-out windows.
        directions: (q, t) directions of the texts of the same windows.
    """

    vectors: Vectors
    texts: Vectors
    states: Vectors
    directions: Vectors


class Asked(NamedTuple):
    """Scores of items for n windows under the backbone or one adapter.

    Attributes:
        states: (n, d) their last states.
        items: items under the same.
        log_mass: (n,) logarithm of the sum of exp(score) over all items.
        of_setup: (n,) share of the items of set-up in it.
        found: for each window, (m,) rows of the best items, ascending.
        scores: for each window, (m,) scores of these.
    """

    states: Vectors
    items: ScoredItems
    log_mass: Array
    of_setup: Array
    found: Sequence[Ids]
    scores: Sequence[Array]

    def score(self, window: int, rows: Ids) -> Array:
        """(m,) scores of (m,) rows for one window."""
        scores: Array = (self.items.vectors(rows) @ self.states[window]).astype(np.float64)
        return scores

    def score_each(self, rows: Ids) -> Array:
        """(n,) scores of one row for each of the n windows."""
        scores: Array = np.einsum("nd,nd->n", self.items.vectors(rows), self.states).astype(np.float64)
        return scores


class Retriever:
    """Indexes over the items that exist, for one process.

    Args:
        items: vectors, texts and adapters.
        ids: id of every row; it may grow.
        known: items of set-up, which have the first rows.
    """

    def __init__(self, items: AdaptedItems, ids: Sequence[str], known: KnownItems) -> None:
        self._items, self._ids, self._setup_items = items, ids, len(known.vectors)
        self._index = ItemIndex(known.vectors, known.states, FOUND)
        self._texts = ItemIndex(known.texts, known.directions, TEXTS_FOUND) if known.texts.any() else None
        self._models: dict[str | None, ScoredItems] = {}
        self._own: dict[str | None, OwnVectors] = {}
        self._cells = np.zeros(0, dtype=np.int64)
        self._existing = np.zeros(0, dtype=np.bool_)
        self._followed: NDArray[np.bool_] | None = None
        self._hashes = np.zeros(0, dtype=np.uint64)
        self._sample = np.zeros(0, dtype=np.int64)
        self._number = 0
        self._of_sample: dict[str | None, Vectors] = {}

    @property
    def cells(self) -> dict[str, tuple[int, int]]:
        """Cells that a query looks at, and all of them, of each index."""
        indexes = {"vectors": self._index, "texts": self._texts}
        return {name: (index.probed, index.cells) for name, index in indexes.items() if index is not None}

    def follow(self, existing: NDArray[np.bool_]) -> None:
        """Follow items and adapters: what changed since the last call is put in or taken out.

        Args:
            existing: (items + 1,) True for rows that exist, not for padding.
        """
        for gone in self._models.keys() - {None, *self._items.names()}:
            del self._models[gone]
            self._of_sample.pop(gone, None)
            self._own.pop(gone, None)
        changes = self._items.take_changes()
        if existing is self._followed and not changes:
            return
        self._own.clear()
        self._followed, rows = existing, max(len(existing), len(self._existing))
        before, existing = (_widened(of, rows) for of in (self._existing, existing))
        changed = np.array(sorted(changes), dtype=np.int64)
        written = np.union1d(np.flatnonzero(existing & ~before), changed[changed < rows])
        self._existing, self._cells = existing, _widened(self._cells, rows)
        self._write(np.flatnonzero(before & ~existing), written[existing[written]])

    def _write(self, ended: Ids, written: Ids) -> None:
        """Take rows out of all indexes, and put rows in."""
        if not len(ended) and not len(written):
            return
        self._cells[written] = self._index.cells_of(self._items.vectors()[written])
        for name, model in self._models.items():
            model.drop(ended)
            self._put(model, name, written)
        if self._texts is not None:
            self._texts.drop(ended)
            for start in range(0, len(written), BLOCK):
                part = written[start : start + BLOCK]
                texts = self._items.texts().of(part)
                self._texts.put(part, texts, self._texts.cells_of(texts))
        self._draw(written)

    def _put(self, model: ScoredItems, name: str | None, rows: Ids) -> None:
        """Put (m,) rows in with their vectors under the backbone or an adapter.

        Items lie in the cells of their vectors under the backbone, which an adapter changes little, but for those with
        vectors of their own.
        """
        own = self._own_of(name).rows
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            vectors, cells, is_own = self._vectors_of(name, part), self._cells[part], is_among(part, own)
            if is_own.any():
                cells[is_own] = self._index.cells_of(vectors[is_own])
            model.put(part, vectors, cells)

    def _model(self, name: str | None) -> ScoredItems:
        if name not in self._models:
            # The vectors of the backbone are held already, where windows are read.
            elsewhere = partial(self._vectors_of, None) if name is None else None
            self._models[name] = ScoredItems(self._index.like(), self._items.vectors().shape[1], elsewhere)
            self._put(self._models[name], name, np.flatnonzero(self._existing))
        return self._models[name]

    def ask(self, name: str | None, states: Vectors) -> Asked:
        """Score items after n windows with (n, d) last states, under the backbone or an adapter, which made them."""
        model = self._model(name)
        asked = Asked(states, model, np.zeros(0), np.zeros(0), (), ())
        found = [np.sort(rows[rows != NONE]) for rows in model.search(states, FOUND)]
        scores = [asked.score(i, rows) for i, rows in enumerate(found)]
        return self._with_mass(asked._replace(found=found, scores=scores), name)

    def within(self, asked: Asked, window: int, allowed: Allowed, most: int) -> Ids:
        """(m,) rows of about the best of the allowed items for one window, ascending: all, where they are few."""
        most = max(most, FOUND)
        if len(allowed.rows) <= max(most, COMPARED):
            return allowed.rows
        return np.sort(asked.items.search_within(asked.states[window], most, allowed.mask()))

    def texts_like(self, directions: Vectors) -> Ids:
        """(n, TEXTS_FOUND) rows whose texts are about the closest to (n, t) directions, `NONE` in other places."""
        if self._texts is None:
            return np.zeros((len(directions), 0), dtype=np.int64)
        return self._texts.search(directions, TEXTS_FOUND)

    def _draw(self, written: Ids) -> None:
        """Draw the sample of the items that exist."""
        if len(self._hashes) < len(self._existing):
            more = len(self._existing) + len(self._existing) // 4 - len(self._hashes)
            self._hashes = np.concatenate([self._hashes, np.zeros(more, dtype=np.uint64)])
        self._hashes[written] = [_hash(self._ids[row]) for row in written.tolist()]
        self._number = int(np.count_nonzero(self._existing))
        halvings = math.floor(math.log2(max(self._number / SAMPLED, 1.0)))
        drawn = self._hashes[: len(self._existing)] < np.uint64(1 << (32 - halvings))
        self._sample = np.flatnonzero(drawn & self._existing)
        self._of_sample.clear()

    def _vectors_of(self, name: str | None, rows: Ids) -> Vectors:
        """(m, d) vectors that score (m,) rows under the backbone or an adapter."""
        turned, own, vectors = self._items.turned(name), self._own_of(name), self._items.vectors()[rows]
        if turned is not None:
            add_texts(vectors, self._items.texts().of(rows), np.ascontiguousarray(turned))
        is_own = is_among(rows, own.rows)
        vectors[is_own] = own.vectors[np.searchsorted(own.rows, rows[is_own])]
        return vectors

    def _own_of(self, name: str | None) -> OwnVectors:
        """See `AdaptedItems.own`, kept until items change."""
        if name not in self._own:
            self._own[name] = self._items.own(name)
        return self._own[name]

    def _with_mass(self, asked: Asked, name: str | None) -> Asked:
        """The answer with the sums of exp(score) over all items."""
        if name not in self._of_sample:
            self._of_sample[name] = asked.items.vectors(self._sample)
        sampled = asked.states @ self._of_sample[name].T
        highest = np.array([scores.max(initial=-np.inf) for scores in asked.scores], dtype=np.float32)
        for i, rows in enumerate(asked.found):
            places = np.searchsorted(self._sample, rows)
            sampled[i, places[self._sample.take(places, mode="clip") == rows]] = -np.inf
        weight, known = self._number / max(len(self._sample), 1), self._setup_items
        others = np.exp(sampled - highest[:, None])
        log_mass, of_setup = np.zeros(len(asked.found)), np.zeros(len(asked.found))
        of_others = weight * others.sum(axis=1, dtype=np.float64)
        in_setup = int(np.searchsorted(self._sample, known, side="right"))
        of_known = weight * others[:, :in_setup].sum(axis=1, dtype=np.float64)
        for i, (rows, scores) in enumerate(zip(asked.found, asked.scores, strict=True)):
            if len(rows):
                best = np.exp(scores - highest[i])
                mass = best.sum() + of_others[i]
                log_mass[i] = highest[i] + math.log(mass)
                of_setup[i] = (best[: np.searchsorted(rows, known, side="right")].sum() + of_known[i]) / mass
        return asked._replace(log_mass=log_mass, of_setup=of_setup)


def _hash(item_id: str) -> int:
    """A number below 2**32, spread evenly over the ids."""
    return int.from_bytes(blake2b(item_id.encode(), digest_size=4).digest(), "big")


def _widened(rows: NDArray[T], length: int) -> NDArray[T]:
    """An array with zeros up to a length, itself where it has that length."""
    missing = length - len(rows)
    return np.concatenate([rows, np.zeros(missing, dtype=rows.dtype)]) if missing else rows
