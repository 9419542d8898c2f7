"""Interface of text encoders."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""Embeddings of n texts, (n, dimensions), each row of unit length or all zero."""

Progress = Callable[[int, int], None]
"""Called with (texts done, texts to do in all) while a long encoding runs."""


class TextEncoder(Protocol):
    """Frozen function from a text to a unit vector."""

    @property
    def name(self) -> str:
        """Display name: `hashing`, a hub id, or a folder."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of one vector."""
        ...

    @property
    def identity(self) -> str:
        """sha256 over everything that determines a vector (weights, configuration, recipe), in hex.

        It is recorded with the vectors. Two encoders of equal identity are the same function; vectors of different
        identities are never mixed.
        """
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts.

        Returns:
            (n, dimensions) float32, one unit vector for each text; the zero vector for a blank text.
        """
        ...


def unit_rows(matrix: Vectors) -> Vectors:
    """Scale each row of an (n, d) matrix to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return (matrix / np.where(lengths > 0, lengths, 1)).astype(np.float32)
