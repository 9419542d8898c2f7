"""EASE: a linear model of items by items in closed form, fitted anew after each update interval."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from pipeline.arrays import Array
from pipeline.errors import ConfigError
from pipeline.events.windows import Ids
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.history_counter import HistoryCounter


class Ease(HistoryCounter):
    """Embarrassingly shallow autoencoder (Steck, 2019).

        B = argmin |X - X B|^2 + penalty |B|^2 with a zero diagonal
          = -P / diag(P) outside the diagonal, P = (X' X + penalty I)^-1
        score(j | history) = sum over its items i of B(i, j), 0 where that is negative

    X has a row for each user, with 1 for the items taken so far. The popularity and the items of a window are those of
    the event, B that of the end of the last interval. The penalty is the paper's on MovieLens-20M.

    Args:
        context: its catalogue has at most `largest` items.

    Attributes:
        penalty: L2 penalty of the weights.
        largest: items of the largest catalogue; the fit of 20,000 takes some 7 GB.

    Raises:
        ConfigError: the catalogue is larger.
    """

    name: ClassVar[str] = "ease"
    penalty: ClassVar[float] = 500.0
    largest: ClassVar[int] = 20_000

    def __init__(self, context: StrategyContext) -> None:
        items = len(context.catalogue)
        if items > self.largest:
            raise ConfigError(
                [
                    f"ease keeps a weight for each pair of items, at most {self.largest:,} x {self.largest:,}; the log "
                    f"has {items:,} items: leave the strategy out, or replay a log with fewer"
                ]
            )
        super().__init__(context)
        self.learn()

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the counts, the histories and the weights."""
        return super().memory_bytes + self._weights.nbytes

    def learn(self) -> None:
        """See `Strategy.learn`: fit the weights to all histories so far."""
        users = np.arange(len(self._histories))
        items, ends = self._histories.items(users), np.cumsum(self._histories.lengths(users))
        shape = len(users), int(items.max(initial=0)) + 1
        taken = csr_array((np.ones(len(items)), items, np.append(0, ends)), shape=shape)
        self._weights = fit((taken.T @ taken).toarray(order="F"), self.penalty)

    def _fill(self, scores: Array, history: Ids, user: str) -> None:  # noqa: ARG002
        known = history[history < len(self._weights)]
        scores[: len(self._weights)] = np.maximum(self._weights[known].sum(axis=0), 0.0)


def fit(gram: NDArray[Any], penalty: float) -> NDArray[np.float32]:
    """(n, n) weights of EASE for the (n, n) Gram matrix X' X in Fortran order, which is overwritten."""
    gram[np.diag_indices_from(gram)] += penalty
    factor, _ = lapack.dpotrf(gram, lower=True, overwrite_a=True)
    inverse, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)
    scale = inverse.diagonal().astype(np.float32)
    weights: NDArray[np.float32] = np.tril(inverse.astype(np.float32), -1)
    weights += weights.T
    weights /= -scale
    return weights
