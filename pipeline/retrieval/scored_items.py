"""Items under the backbone or an adapter: an index of them, and the vectors that score them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Vectors
from pipeline.compiled import compiled
from pipeline.events.windows import Ids
from pipeline.retrieval.item_index import ItemIndex

SPARE = 4
"""Room for more items, as one part in so many."""


class ScoredItems:
    """Items by row, to be found and to be scored by inner product.

    Args:
        index: without items.
        dimensions: of vectors.
        elsewhere: returns the (m, d) vectors of (m,) rows that were put in; None: they are held here.
    """

    def __init__(self, index: ItemIndex, dimensions: int, elsewhere: Callable[[Ids], Vectors] | None = None) -> None:
        self._index, self._elsewhere = index, elsewhere
        self._vectors = np.zeros((0, dimensions), dtype=np.float32)

    def put(self, rows: Ids, vectors: Vectors, cells: Ids) -> None:
        """Put (m,) rows in, in place of what they had; see `ItemIndex.put`."""
        if self._elsewhere is None:
            self._hold(rows, vectors)
        self._index.put(rows, vectors, cells)

    def _hold(self, rows: Ids, vectors: Vectors) -> None:
        needed = int(rows.max(initial=-1)) + 1
        if needed > len(self._vectors):
            room = np.zeros((needed + needed // SPARE, self._vectors.shape[1]), dtype=np.float32)
            room[: len(self._vectors)] = self._vectors
            self._vectors = room
        self._vectors[rows] = vectors

    def drop(self, rows: Ids) -> None:
        """Take (m,) rows out of the index; they can still be scored."""
        self._index.drop(rows)

    def search(self, states: Vectors, most: int) -> Ids:
        """See `ItemIndex.search`."""
        return self._index.search(states, most)

    def search_within(self, state: Vectors, most: int, admitted: NDArray[np.bool_]) -> Ids:
        """See `ItemIndex.search_within`."""
        return self._index.search_within(state, most, admitted)

    def vectors(self, rows: Ids) -> Vectors:
        """(m, d) vectors of (m,) rows."""
        return self._vectors[rows] if self._elsewhere is None else self._elsewhere(rows)


@compiled
def add_texts(vectors: Vectors, texts: NDArray[np.float32], turned: Vectors) -> None:
    """Add (m, t) texts times (t, d) `turned` to (m, d) vectors, in place.

    A vector has the same bits whichever others are computed with it.
    """
    for row in range(len(vectors)):
        for number in range(texts.shape[1]):
            weight = texts[row, number]
            for at in range(vectors.shape[1]):
                vectors[row, at] += weight * turned[number, at]
