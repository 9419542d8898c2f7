"""Index of item vectors: the items with the highest inner products with a query, without a look at most of them.

An inverted file (Jegou et al., 2011), by faiss: every item lies in the cell of the nearest of fixed centroids, and a
query is compared with the items of the cells nearest to it. Centroids, and how many cells are looked at, follow from
the items of set-up alone: what is found depends on the items that are there, and not on the order in which they came.
"""

import math
from bisect import bisect_left
from copy import copy
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.events.windows import Ids

Vectors = NDArray[np.float32]
"""(n, d) vectors."""

CELLS = 4
"""Cells for each square root of the number of items of set-up."""

TRAINED = 16
"""Items for each cell that the centroids are found from, at most."""

ITERATIONS = 4
"""Of k-means."""

RECALL = 0.993
"""Least share of the best items of set-up that is found, in the mean over the queries that the cells are chosen by."""

BEST = 100
"""Number of best items whose share is measured."""

NONE = -1
"""Row in the place of an item that was not found."""


class ItemIndex:
    """Items by row, to be found by inner product.

    Args:
        vectors: (m, d) of items that the cells are made for; they are not put in.
        queries: (q, d) queries for which `RECALL` of the best of these items is to be found.

    Attributes:
        probed: number of cells that a query looks at.
        cells: number of all cells.
    """

    def __init__(self, vectors: Vectors, queries: Vectors) -> None:
        # It is slow to load, and only a large catalogue needs it.
        self._faiss: Any = import_module("faiss")
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        self._ivf: Any = import_module("faiss.contrib.ivf_tools")
        self._dimensions = vectors.shape[1]
        self.cells = max(1, min(len(vectors), round(CELLS * math.sqrt(len(vectors)))))
        self._quantizer = self._faiss.IndexFlatIP(self._dimensions)
        self._quantizer.add(self._means(vectors))
        self.probed = self.cells
        self._index = self._empty()
        self.probed = self._least(vectors, queries)
        self._index = self._empty()

    def __len__(self) -> int:
        """Number of items."""
        return int(self._index.ntotal)

    def like(self) -> "ItemIndex":
        """An index without items that has the same cells."""
        other = copy(self)
        other._index = self._empty()
        return other

    def cells_of(self, vectors: Vectors) -> Ids:
        """(m,) cell of each of (m, d) vectors."""
        if not len(vectors):
            return np.zeros(0, dtype=np.int64)
        cells: Ids = self._quantizer.assign(np.ascontiguousarray(vectors), 1)[:, 0]
        return cells

    def put(self, rows: Ids, vectors: Vectors, cells: Ids) -> None:
        """Put (m,) rows in with (m, d) vectors, in place of what they had.

        Args:
            rows: the rows.
            vectors: their vectors.
            cells: (m,) the cells that they lie in: those of these vectors, or of others that they are close to.
        """
        self.drop(rows)
        if len(rows):
            given = (np.ascontiguousarray(of) for of in (vectors, cells, rows))
            self._ivf.add_preassigned(self._index, *given)

    def drop(self, rows: Ids) -> None:
        """Take (m,) rows out; those that are not in are skipped."""
        if len(rows) and len(self):
            self._index.remove_ids(self._faiss.IDSelectorArray(rows))

    def search(self, queries: Vectors, most: int) -> Ids:
        """(n, most) rows with the highest inner products with each of (n, d) queries, `NONE` where there are fewer."""
        if not len(queries):
            return np.full((0, most), NONE, dtype=np.int64)
        found: Ids = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), most)[1]
        return found

    def _empty(self) -> Any:
        faiss = self._faiss
        kind, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFScalarQuantizer(self._quantizer, self._dimensions, self.cells, kind, metric, False)
        index.is_trained = True  # half precision has nothing to be fitted
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        index.nprobe = self.probed
        return index

    def _means(self, vectors: Vectors) -> Vectors:
        """(cells, d) unit centroids of a part of the vectors, spread over all of them."""
        taken = np.linspace(0, len(vectors) - 1, min(len(vectors), TRAINED * self.cells)).astype(np.int64)
        settings = {"niter": ITERATIONS, "seed": 1, "spherical": True, "min_points_per_centroid": 1}
        means = self._faiss.Kmeans(vectors.shape[1], self.cells, max_points_per_centroid=TRAINED, **settings)
        means.train(np.ascontiguousarray(vectors[taken], dtype=np.float32))
        centroids: Vectors = means.centroids
        return centroids

    def _least(self, vectors: Vectors, queries: Vectors) -> int:
        """Least number of cells with which `RECALL` is reached."""
        most, rows = min(BEST, len(vectors)), np.arange(len(vectors), dtype=np.int64)
        self.put(rows, vectors, self.cells_of(vectors))
        best = self._faiss.knn(queries, vectors, most, metric=self._faiss.METRIC_INNER_PRODUCT)[1]

        def suffices(probed: int) -> bool:
            self._index.nprobe = probed
            return _recall(self.search(queries, most), best) >= RECALL

        return 1 + bisect_left(range(1, self.cells), True, key=suffices)


def _recall(found: Ids, best: Ids) -> float:
    """Mean share of the best rows among those found, both (n, most)."""
    shares = [np.isin(rows, of).mean() for rows, of in zip(best, found, strict=True)]
    return float(np.mean(shares)) if shares else 1.0
