"""Text embeddings by catalogue row, held in single or in half precision and read in single precision.

A set-up of a large catalogue keeps them in half precision, which halves what is most of the memory of a process.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Vectors
from pipeline.compiled import compiled
from pipeline.events.windows import Ids

Stored = NDArray[np.float32] | NDArray[np.float16]
"""(n, t) embeddings as they are held."""

BLOCK = 65_536
"""Rows of a large catalogue whose vectors are made together."""

SCALE = np.float32(2.0**112)
"""Factor between a half and the single with the same exponent bits: the exponents begin 112 apart."""


class TextVectors:
    """Text embeddings of all rows of a catalogue, of unit length, or zero for items without text.

    Args:
        stored: (n, t) embeddings, finite.
    """

    __slots__ = ("_stored",)

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._stored)

    @property
    def dimensions(self) -> int:
        """Numbers of an embedding."""
        return int(self._stored.shape[1])

    def first(self, rows: int) -> "TextVectors":
        """The first rows, not copied."""
        return TextVectors(self._stored[:rows])

    def of(self, rows: Ids) -> Vectors:
        """(m, t) embeddings of (m,) rows."""
        if self._stored.dtype == np.float32:
            return self._stored.astype(np.float32, copy=False)[rows]
        widened: Vectors = _widened(self._stored.view(np.int16), rows).view(np.float32)
        widened *= SCALE
        return widened

    def all(self) -> Vectors:
        """(n, t) embeddings of all rows; a copy where they are held in half precision."""
        single: Vectors = self._stored.astype(np.float32, copy=False)
        return single


def kept_texts(vectors: Stored, exact: int) -> Stored:
    """Embeddings in the precision in which a set-up keeps them: half for more than `exact` items."""
    return vectors.astype(np.float16) if len(vectors) > exact else vectors


@compiled
def _widened(halves: NDArray[np.int16], rows: Ids) -> NDArray[np.int32]:
    """(m, t) bits of singles that are smaller than the halves of (m,) rows by the factor `SCALE`."""
    singles = np.empty((len(rows), halves.shape[1]), dtype=np.int32)
    for number in range(len(rows)):
        row, single = halves[rows[number]], singles[number]
        for at in range(len(row)):
            half = np.int32(row[at])
            magnitude, sign = half & np.int32(0x7FFF), half & np.int32(-0x8000)
            single[at] = magnitude << np.int32(13) | sign << np.int32(16)
    return singles
