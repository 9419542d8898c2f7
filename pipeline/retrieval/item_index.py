"""Index of item vectors: the items with the highest inner products with a query, without a look at most of them.

An inverted file (Jegou et al., 2011), by faiss: every item lies in the cell of the nearest of fixed centroids, and a
query is compared with the items of the cells nearest to it. These are held as codes of four bits a dimension and
compared by table lookup (Andre et al., 2015): what is found is to be scored exactly. Centroids, codes, and how many
cells are looked at, follow from the items of set-up alone: what is found depends on the items that are there, and not
on the order in which they came.
"""

import math
from bisect import bisect_left
from copy import copy
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Vectors
from pipeline.events.windows import Ids
from pipeline.retrieval.four_bit_codes import BITS, FourBitCodes

CELLS = 4
"""Cells for each square root of the number of items of set-up."""

TRAINED = 16
"""Items for each cell that the centroids are found from, at most."""

ITERATIONS = 4
"""Of k-means."""

RECALL = 0.993
"""Least share of the best items of set-up that is found, in the mean over the queries that the cells are chosen by, of
those that a look at all cells finds: codes lose some, and no further cells bring these back."""

BEST = 100
"""Number of best items whose share is measured."""

WIDENED = 4
"""Factor by which more cells are looked at for admitted items than for all, and again where these hold too few."""

NONE = -1
"""Row in the place of an item that was not found."""


class ItemIndex:
    """Items by row, to be found by inner product.

    Args:
        vectors: (m, d) of items that the cells are made for; they are not put in.
        queries: (q, d) queries that the number of cells to look at is chosen by.
        found: number of items that are found for a query, of which the best are then known exactly.

    Attributes:
        probed: number of cells that a query looks at.
        cells: number of all cells.
    """

    def __init__(self, vectors: Vectors, queries: Vectors, found: int) -> None:
        # It is slow to load, and only a large catalogue needs it.
        self._faiss: Any = import_module("faiss")
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        self._dimensions = vectors.shape[1]
        self.cells = max(1, min(len(vectors), round(CELLS * math.sqrt(len(vectors)))))
        self._quantizer = self._faiss.IndexFlatIP(self._dimensions)
        self._quantizer.add(self._means(vectors))
        self._codes = FourBitCodes(vectors)
        self.probed = self.cells
        self._index, self._holds = self._empty(), np.zeros(0, dtype=np.bool_)
        self.probed = self._least(vectors, queries, found)
        self._index, self._holds = self._empty(), np.zeros(0, dtype=np.bool_)

    def __len__(self) -> int:
        """Number of items."""
        return int(self._index.ntotal)

    def like(self) -> "ItemIndex":
        """An index without items that has the same cells."""
        other = copy(self)
        other._index, other._holds = self._empty(), np.zeros(0, dtype=np.bool_)
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
        if not len(rows):
            return
        self._hold(rows)
        codes = self._codes.of(vectors)
        order = np.argsort(cells, kind="stable")
        starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
        for of_cell in np.split(order, starts[1:]):
            self._append(int(cells[of_cell[0]]), rows[of_cell], codes[of_cell])
        self._index.ntotal += len(rows)

    def drop(self, rows: Ids) -> None:
        """Take (m,) rows out; those that are not in are skipped."""
        rows = rows[rows < len(self._holds)]
        held = rows[self._holds[rows]]
        if len(held):
            self._index.remove_ids(self._faiss.IDSelectorBatch(held))
            self._holds[held] = False

    def _hold(self, rows: Ids) -> None:
        missing = int(rows.max()) + 1 - len(self._holds)
        if missing > 0:
            self._holds = np.concatenate([self._holds, np.zeros(missing + len(self._holds) // 4, dtype=np.bool_)])
        self._holds[rows] = True

    def search(self, queries: Vectors, most: int) -> Ids:
        """(n, most) rows with about the highest inner products with each of (n, d) queries, `NONE` in other places.

        Codes are equal for many items: all those that are level with the last one are left out, so that the rest does
        not depend on their order.
        """
        if not len(queries):
            return np.full((0, most), NONE, dtype=np.int64)
        products, found = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), most)
        is_level = (products == products[:, -1:]) & (found[:, -1:] != NONE)
        rows: Ids = np.where(is_level, NONE, found)
        return rows

    def search_within(self, query: Vectors, most: int, admitted: NDArray[np.bool_]) -> Ids:
        """(m,) rows with about the highest inner products with a (d,) query, out of those that `admitted` is True for.

        The best admitted items lie deeper than the best of all: `WIDENED` times the cells are looked at, and more and
        more until `most` rows are found; those that are level with the last one are left out as in `search`.
        """
        faiss, probed = self._faiss, min(WIDENED * self.probed, self.cells)
        bits = np.packbits(admitted, bitorder="little")
        while True:
            within = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(bits), nprobe=probed)
            given = np.ascontiguousarray(query[None], dtype=np.float32)
            products, rows = (of[0] for of in self._index.search(given, most, params=within))
            if rows[-1] == NONE and probed < self.cells:
                probed = min(WIDENED * probed, self.cells)
                continue
            found: Ids = rows[(rows != NONE) & ((products != products[-1]) | (rows[-1] == NONE))]
            return found

    def _append(self, cell: int, rows: Ids, codes: NDArray[np.uint8]) -> None:
        """Append (m,) rows with (m, bytes) codes to a cell."""
        lists, packer, pointer = self._index.invlists, self._packer, self._faiss.swig_ptr
        size = lists.list_size(cell)
        if size and size % packer.block_size == 0:
            # Here faiss 1.15 and earlier take a list for an empty one, and write beyond its end: begin it anew.
            before = self._faiss.rev_swig_ptr(lists.get_ids(cell), size).copy()
            rows, codes = np.concatenate([before, rows]), np.concatenate([self._codes_in(cell, size), codes])
            lists.resize(cell, 0)
        blocks = -(-len(rows) // packer.nvec)
        padded = np.zeros((blocks, packer.nvec, packer.code_size), dtype=np.uint8)
        padded.reshape(-1, packer.code_size)[: len(codes)] = codes
        packed = np.empty((blocks, packer.block_size), dtype=np.uint8)
        for flat, block in zip(padded, packed, strict=True):
            packer.pack_all(pointer(flat), pointer(block))
        lists.add_entries(cell, len(rows), pointer(np.ascontiguousarray(rows)), pointer(packed))

    def _codes_in(self, cell: int, size: int) -> NDArray[np.uint8]:
        """(size, bytes) codes of the items of a cell, a whole number of blocks."""
        packer, pointer = self._packer, self._faiss.swig_ptr
        blocks = size // packer.nvec
        packed = self._faiss.rev_swig_ptr(self._index.invlists.get_codes(cell), blocks * packer.block_size)
        flat = np.empty((blocks, packer.nvec * packer.code_size), dtype=np.uint8)
        for block, of_block in zip(packed.reshape(blocks, -1), flat, strict=True):
            packer.unpack_all(pointer(np.ascontiguousarray(block)), pointer(of_block))
        return flat.reshape(size, packer.code_size)

    def _empty(self) -> Any:
        arguments = self._quantizer, self._dimensions, self.cells, self._dimensions, BITS
        index = self._faiss.IndexIVFPQFastScan(*arguments, self._faiss.METRIC_INNER_PRODUCT)
        index.by_residual = False
        index.pq = self._codes.quantizer
        index.is_trained = True
        index.nprobe = self.probed
        self._packer = index.get_CodePacker()
        return index

    def _means(self, vectors: Vectors) -> Vectors:
        """(cells, d) unit centroids of a part of the vectors, spread over all of them."""
        taken = np.linspace(0, len(vectors) - 1, min(len(vectors), TRAINED * self.cells)).astype(np.int64)
        settings = {"niter": ITERATIONS, "seed": 1, "spherical": True, "min_points_per_centroid": 1}
        means = self._faiss.Kmeans(vectors.shape[1], self.cells, max_points_per_centroid=TRAINED, **settings)
        means.train(np.ascontiguousarray(vectors[taken], dtype=np.float32))
        centroids: Vectors = means.centroids
        return centroids

    def _least(self, vectors: Vectors, queries: Vectors, found: int) -> int:
        """Least number of cells with which `RECALL` of what all cells hold is found."""
        most, rows = min(BEST, len(vectors)), np.arange(len(vectors), dtype=np.int64)
        self.put(rows, vectors, self.cells_of(vectors))
        best = self._faiss.knn(queries, vectors, most, metric=self._faiss.METRIC_INNER_PRODUCT)[1]

        def recall(probed: int) -> float:
            self._index.nprobe = probed
            return _recall(self.search(queries, found), best)

        aim = RECALL * recall(self.cells)
        return 1 + bisect_left(range(1, self.cells), True, key=lambda probed: recall(probed) >= aim)


def _recall(found: Ids, best: Ids) -> float:
    """Mean share of the (n, most) best rows among the (n, m) that are found."""
    shares = [np.isin(rows, of).mean() for rows, of in zip(best, found, strict=True)]
    return float(np.mean(shares)) if shares else 1.0
