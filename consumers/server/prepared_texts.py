"""Text encoder that encodes in advance: requests wait while the catalogue changes, but not for its texts."""

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.models.text import TextEncoder
from pipeline.models.text.base import Vectors


class PreparedTexts:
    """Vectors of the texts that are about to be needed, and the encoder of all others.

    Args:
        encoder: computes the vectors.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.name, self.dimensions, self.identity = encoder.name, encoder.dimensions, encoder.identity
        self._encoder = encoder
        self._prepared: dict[str, Vectors] = {}

    def prepare(self, texts: Iterable[str]) -> None:
        """Encode texts, in place of those that were prepared before."""
        distinct = list(dict.fromkeys(texts))
        vectors = self._encoder.encode(distinct) if distinct else ()
        self._prepared = dict(zip(distinct, vectors, strict=True))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `TextEncoder.encode`."""
        if all(text in self._prepared for text in texts):
            return np.stack([self._prepared[text] for text in texts])
        return self._encoder.encode(texts)
