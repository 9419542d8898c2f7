"""Query: one window, and what the first stage says of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import PADDING, Ids, left_packed, taken_rows
from pipeline.recommend.candidates.scores import RankedScores

MODEL, BACKBONE = "model", "backbone"
"""Models of a query: the adapted one, and the frozen backbone."""


@dataclass(frozen=True)
class Query:
    """One window for which items are ranked.

    Attributes:
        context: (length,) catalogue rows of the window, oldest first, left-padded; negative where disliked.
        earlier: (e,) distinct rows that left the window, the one that left last at the end, left-padded.
        setup_shares: (regions,) share of each set-up region in the window.
        recent: share of the window's items that were taken since set-up; 1 for an empty window.
        opened: posterior of the regions of the stream.
        experts: model -> probabilities of items.
    """

    context: Ids
    earlier: NDArray[np.integer[Any]]
    setup_shares: Array
    recent: float
    opened: float
    experts: Mapping[str, RankedScores]

    @property
    def window(self) -> Ids:
        """(m,) items of the window that were taken, oldest first."""
        window: Ids = self.context[self.context > PADDING]
        return window

    @cached_property
    def taken_context(self) -> Ids:
        """(length,) rows of the items of the window that were taken, oldest first, left-padded."""
        return self.context if (self.context >= PADDING).all() else left_packed(taken_rows(self.context)[None])[0]

    @property
    def since_setup(self) -> int:
        """Number of items of the window, disliked ones included, that came after set-up."""
        return round(self.recent * np.count_nonzero(self.context))

    @property
    def taken(self) -> Ids:
        """(k,) distinct items that the user took, as far as they are remembered, ascending."""
        return np.sort(self._newest)

    def without_items(self) -> "Query":
        """The query without any item."""
        return replace(self, context=np.full_like(self.context, PADDING), earlier=np.zeros(0, dtype=np.int64))

    def history(self, length: int) -> Ids:
        """(length,) distinct items of the user, oldest first, left-padded: those of the window and earlier ones."""
        newest = self._newest[:length]
        history = np.zeros(length, dtype=np.int64)
        history[length - len(newest) :] = newest[::-1]
        return history

    @cached_property
    def _newest(self) -> Ids:
        """(k,) distinct items of the user, newest first."""
        items = [*self.earlier[self.earlier != PADDING].tolist(), *self.window.tolist()]
        return np.array(list(dict.fromkeys(reversed(items))), dtype=np.int64)


def recent_shares(contexts: Ids, since_setup: NDArray[np.int64]) -> Array:
    """(n,) share of each (n, length) window that was taken since set-up; 1 for an empty one."""
    items = np.count_nonzero(contexts != PADDING, axis=1)
    shares: Array = np.where(items > 0, since_setup / np.maximum(items, 1), 1.0)
    return shares
