"""Four-bit codes of vectors, a code for each dimension: the nearest of 16 levels that fit the vectors of set-up."""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Vectors
from pipeline.compiled import compiled

BITS = 4
"""Of a code."""

LEVELS = 1 << BITS
"""Values of a code."""


class FourBitCodes:
    """Quantizer of vectors.

    Args:
        vectors: (m, d) that the levels are fitted to, at least one.

    Attributes:
        quantizer: the same as faiss knows it.
    """

    def __init__(self, vectors: Vectors) -> None:
        faiss: Any = import_module("faiss")
        dimensions = vectors.shape[1]
        self.quantizer: Any = faiss.ProductQuantizer(dimensions, dimensions, BITS)
        self.quantizer.cp.min_points_per_centroid = 1
        enough = np.resize(vectors, (max(LEVELS, len(vectors)), dimensions))
        self.quantizer.train(np.ascontiguousarray(enough, dtype=np.float32))
        levels = np.sort(faiss.vector_to_array(self.quantizer.centroids).reshape(dimensions, LEVELS), axis=1)
        faiss.copy_array_to_vector(levels.ravel(), self.quantizer.centroids)
        self._bounds = np.ascontiguousarray(((levels[:, 1:] + levels[:, :-1]) / 2.0).T)

    def of(self, vectors: Vectors) -> NDArray[np.uint8]:
        """(m, bytes) codes of (m, d) vectors, two to a byte, the first one in its lower half."""
        codes = np.zeros((len(vectors), self.quantizer.code_size), dtype=np.uint8)
        _encode(np.ascontiguousarray(vectors), self._bounds, codes)
        return codes


@compiled
def _encode(vectors: Vectors, bounds: Vectors, codes: NDArray[np.uint8]) -> None:
    """Write the codes of (m, d) vectors, which count the (15, d) bounds below each number."""
    levels = np.empty(vectors.shape[1], dtype=np.uint8)
    for row in range(len(vectors)):
        levels[:] = 0
        for number in range(len(bounds)):
            for at in range(len(levels)):
                levels[at] += vectors[row, at] > bounds[number, at]
        for at in range(len(levels)):
            codes[row, at // 2] |= levels[at] << (4 * (at % 2))
