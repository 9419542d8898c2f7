"""Weights of model and online counts: a mixture of experts (Jacobs et al., 1991) with the model as one of them.

    P(item) = w_0 P_model(item) + sum_j w_j P_j(item),   w = softmax(0, theta_1 x, ..., theta_J x)

The experts are decayed popularity, one for each half-life, and item transitions of set-up and recent ones. x are
features of the window before its target: a constant, an indicator of items taken since set-up or of an empty window,
the lift of its items (`DecayedPopularity.lifts`), and the model's highest probability. theta follows the gradient of
log P(target), one step an event, so it is learned on past events alone. Held-out set-up windows take part in each
step, so that users who behave as in set-up are not recommended what is new.

The likelihood is dominated by targets that the model finds improbable; the first ranks of a list may need less of the
counts than that, or more. Hits therefore choose the point of `pipeline.online.interpolation.GRID`: the one that would
have put most targets so far into the list.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.online.interpolation import GRID

FIRST_LOGIT = -3.0
"""Initial logit of each expert: its weight begins at 1/20 of the model's."""


class ExpertMixture:
    """Weights of the model and the experts.

    Args:
        experts: number of experts.
        learning_rate: step of the gradient.

    Attributes:
        grid_point: (4,) point of `GRID` with most hits so far; of several the one with the largest share of the learned
            mixture.
    """

    def __init__(self, experts: int, learning_rate: float) -> None:
        self._learning_rate = learning_rate
        self._theta = np.zeros((experts, 4))
        self._theta[:, 0] = FIRST_LOGIT
        self._take_hits(np.zeros(len(GRID)))

    def weights(self, since: Array, lift: Array, max_probability: Array) -> Array:
        """(n, 1 + experts) learned weights of the model and of each expert for n windows.

        Args:
            since: (n,) 1 where a window holds an item taken since set-up, or no item, 0 elsewhere.
            lift: (n,) lift of its items.
            max_probability: (n,) highest probability of the model.
        """
        return self._weights(_features(since, lift, max_probability))

    def record_hits(self, hits: Sequence[bool]) -> None:
        """Count the points of `GRID` by which the target of an event would have been in the list."""
        self._take_hits(self._hits + hits)

    def learn(self, since: Array, lift: Array, max_probability: Array, probabilities: Array) -> None:
        """Learn from n windows in one step.

        Args:
            since: (n,) as of `weights`.
            lift: (n,) likewise.
            max_probability: (n,) likewise.
            probabilities: (n, 1 + experts) probabilities of each window's target by model and experts.
        """
        features = _features(since, lift, max_probability)
        weights = self._weights(features)
        credit = weights * np.maximum(probabilities, 1e-12)
        credit /= np.add.reduce(credit, axis=1, keepdims=True)
        self._theta += self._learning_rate * ((credit - weights)[:, 1:].T @ features)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the learned state; `restore` continues from it to the bit."""
        return {"theta": self._theta.copy(), "hits": self._hits.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the result of `to_arrays`."""
        self._theta = arrays["theta"].copy()
        self._take_hits(arrays["hits"].copy())

    def _take_hits(self, hits: Array) -> None:
        self._hits = hits
        best = np.flatnonzero(hits == hits.max())
        self.grid_point: Array = GRID[best[GRID[best, 1].argmax()]]

    def _weights(self, features: Array) -> Array:
        logits = np.zeros((len(features), 1 + len(self._theta)))
        logits[:, 1:] = features @ self._theta.T
        odds: Array = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
        odds /= np.add.reduce(odds, axis=1, keepdims=True)
        return odds


def _features(since: Array, lift: Array, max_probability: Array) -> Array:
    # All of similar magnitude, so that one learning rate suits them.
    features = np.ones((len(since), 4))
    features[:, 1] = 2.0 * since - 1.0
    features[:, 2] = lift
    features[:, 3] = np.log(max_probability) / 2.0 + 2.0
    return features
