"""Text as a candidate source: items whose texts are close to those of the window."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.events.windows import Ids
from pipeline.online.dense_scores import DenseScores, Values
from pipeline.recommend.candidates.query import Query

DECAY = 0.8
"""Weight of an item of the window against the one taken after it."""

Texts = Callable[[], NDArray[np.float32]]
"""Returns the (items + 1, t) text embeddings in force, of unit length, or zero for items without text."""


class TextNeighbours:
    """Items with texts close to the mean of the window's.

    Args:
        texts: the embeddings.
        most: see `CandidateSource`.
    """

    name = "text"

    def __init__(self, texts: Texts, most: int) -> None:
        self.most, self._texts = most, texts

    def scores(self, query: Query) -> DenseScores:
        """Cosines."""
        return self.scores_together([query])[0]

    def scores_together(self, queries: Sequence[Query]) -> list[DenseScores]:
        """Cosines after each of n windows, 0 for an empty one; the texts are read once for all of them."""
        if not queries:
            return []
        texts = self._texts()
        cosines = np.stack([self._mean(query, texts) for query in queries]) @ texts.T
        return [DenseScores(row, 0.0) for row in cosines]

    def to_last(self, query: Query, rows: Ids) -> Values:
        """(m,) cosines of candidates to the last item of the window; 0 for an empty window."""
        texts, window = self._texts(), query.window
        if not len(window):
            return np.zeros(len(rows))
        scores: Values = texts[rows] @ texts[window[-1]]
        return scores

    @staticmethod
    def _mean(query: Query, texts: NDArray[np.float32]) -> NDArray[np.float32]:
        """(t,) direction of the window's texts; 0 for an empty window."""
        window = query.window
        weights = (DECAY ** np.arange(len(window))[::-1]).astype(np.float32)
        mean = weights @ texts[window]
        direction: NDArray[np.float32] = mean / np.float32(max(float(np.linalg.norm(mean)), 1e-9))
        return direction
