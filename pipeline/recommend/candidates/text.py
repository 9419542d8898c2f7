"""Text as a candidate source: items whose texts are close to those of the window."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.models.text_vectors import TextVectors
from pipeline.online.dense_scores import DenseScores, Values, shortlist
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.scores import RankedScores
from pipeline.retrieval.item_index import NONE

DECAY = 0.8
"""Weight of an item of the window against the one taken after it."""

COMPARED = 20_000
"""Allowed items of a request up to which all their texts are compared, also in a large catalogue."""

Texts = Callable[[], TextVectors]
"""Returns the text embeddings in force of all (items + 1) rows."""

TextsLike = Callable[[NDArray[np.float32]], Ids | None]
"""Returns for (n, t) directions the (n, m) rows of items with texts close to each, `NONE` where there are fewer; None
where all texts are to be compared."""


TextsOf = Callable[[Ids], NDArray[np.float32]]
"""Returns the (m, t) embeddings of (m,) rows."""


class FoundTexts:
    """Cosines of texts to a direction, of which the best are found by an index.

    Args:
        texts_of: returns the (m, t) embeddings of (m,) rows.
        direction: (t,) unit vector.
        found: (m,) distinct rows with texts close to it.
    """

    __slots__ = ("_direction", "_found", "_texts_of")

    def __init__(self, texts_of: TextsOf, direction: NDArray[np.float32], found: Ids) -> None:
        self._texts_of, self._direction, self._found = texts_of, direction, found

    def at(self, rows: Ids) -> Values:
        """(m,) cosines of (m,) rows."""
        cosines: Values = self._texts_of(rows) @ self._direction
        return cosines

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """See `RankedScores.shortlist`; where a request admits few items, all of them are compared."""
        rows = self._found
        if allowed.narrowed and len(allowed.rows) <= COMPARED:
            rows = allowed.rows
        return shortlist(self.at(rows), allowed, most, 0.0, rows)


class TextNeighbours:
    """Items with texts close to the mean of the window's.

    Args:
        texts: the embeddings.
        most: see `CandidateSource`.
        like: finds texts in a large catalogue.
    """

    name = "text"

    def __init__(self, texts: Texts, most: int, like: TextsLike) -> None:
        self.most, self._texts, self._like = most, texts, like
        self._latest: tuple[Ids, NDArray[np.float32]] | None = None

    def scores(self, query: Query) -> RankedScores:
        """Cosines."""
        return self.scores_together([query])[0]

    def scores_together(self, queries: Sequence[Query]) -> Sequence[RankedScores]:
        """Cosines after each of n windows, 0 for an empty one; the texts are read once for all of them."""
        if not queries:
            return []
        texts = self._texts()
        directions = np.stack([direction(texts, query.window) for query in queries])
        found = self._like(directions)
        if found is None:
            return [DenseScores(row, 0.0) for row in directions @ texts.all().T]
        rows = (of[of != NONE] for of in found)
        return [FoundTexts(self._texts_of, towards, of) for towards, of in zip(directions, rows, strict=True)]

    def to_last(self, query: Query, rows: Ids) -> Values:
        """(m,) cosines of candidates to the last item of the window; 0 for an empty window."""
        window = query.window
        if not len(window):
            return np.zeros(len(rows))
        scores: Values = self._texts_of(rows) @ self._texts().of(window[-1:])[0]
        return scores

    def _texts_of(self, rows: Ids) -> NDArray[np.float32]:
        """(m, t) embeddings of (m,) rows, kept for the next question: the candidates are asked about twice."""
        if self._latest is None or rows is not self._latest[0]:
            self._latest = rows, self._texts().of(rows)
        return self._latest[1]


def direction(texts: TextVectors, window: Ids) -> NDArray[np.float32]:
    """(t,) direction of the texts of (m,) rows, the newest counting most; 0 for an empty window.

    Args:
        texts: embeddings of (items + 1) rows.
        window: the rows, oldest first.
    """
    weights = (DECAY ** np.arange(len(window))[::-1]).astype(np.float32)
    mean = weights @ texts.of(window)
    unit: NDArray[np.float32] = mean / np.float32(max(float(np.linalg.norm(mean)), 1e-9))
    return unit


def all_texts(directions: NDArray[np.float32]) -> None:
    """Have all texts compared; see `TextsLike`."""
    del directions
