"""Eras: whose answers have been right of late, those of set-up or those of what came since, taste by taste.

A taste that has changed may turn back, and turn again. Windows tell so slowly, for they hold what users took before;
what users take next tells at once, by who expected it. With p the posterior of the opened regions by content, s_k the
share of taste k in the window, and e_k what was learned of that taste,

    logit p' = logit p + sum_k s_k e_k

e follows the gradient of log P(target), P = (1 - p') P_backbone + p' P_opened, a step an event, and fades: a mixture of
two experts (Jacobs et al., 1991) that forgets, so that it can follow the best one (Herbster and Warmuth, 1998). Whoever
took nothing since set-up is left where the gate puts him.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.online.decayed_popularity import counted


@dataclass(frozen=True)
class OriginFeatures:
    """Where the gate puts n windows by their content.

    Attributes:
        opened: (n,) posterior of the regions opened since set-up, all together.
        routed: (n,) part of these in the route.
        setup_shares: (n, setup_shares) shares of the tastes of set-up.
        since_setup: (n,) how many items of each were taken since set-up.
    """

    opened: Array
    routed: Array
    setup_shares: Array
    since_setup: NDArray[np.int64]

    def __getitem__(self, chosen: slice) -> "OriginFeatures":
        return OriginFeatures(
            self.opened[chosen], self.routed[chosen], self.setup_shares[chosen], self.since_setup[chosen]
        )


def reweighted(answers: NDArray[Any], backbone: NDArray[Any], origin_weight: Array) -> Array:
    """Probabilities in which the opened regions count `origin_weight` times as much as in `answers`.

    Args:
        answers: of backbone and opened regions, any shape.
        backbone: of it alone, likewise.
        origin_weight: fits them.
    """
    more = backbone + origin_weight * (answers - backbone)
    # To the bit as they are where nothing grows.
    probabilities: Array = np.where(origin_weight == 1.0, answers, np.maximum(more, 0.0))
    return probabilities


class OriginPrior:
    """Log odds of what came since set-up, for each taste, beyond what a window's content says.

    Args:
        setup_shares: number of set-up regions.
        learning_rate: step of the gradient; 0: content alone decides.
        half_life: events after which half is forgotten of what was learned.
    """

    def __init__(self, setup_shares: int, learning_rate: float, half_life: float) -> None:
        self._log_odds = np.zeros(setup_shares)
        self._learning_rate = learning_rate
        self._kept = 0.5 ** (1.0 / half_life)

    def opened(self, origin_features: OriginFeatures) -> Array:
        """(n,) p': posterior of the opened regions by content and era."""
        log_odds = np.where(
            origin_features.since_setup > 0, counted(origin_features.setup_shares) @ self._log_odds, 0.0
        )
        likelier = origin_features.opened * np.exp(log_odds)
        opened: Array = np.where(
            log_odds == 0.0, origin_features.opened, likelier / (likelier + 1.0 - origin_features.opened)
        )
        return opened

    def origin_weight(self, origin_features: OriginFeatures) -> Array:
        """(n,) how many times as much of each answer is that of opened regions as the route alone says."""
        return self._origin_weight(origin_features, self.opened(origin_features))

    @staticmethod
    def _origin_weight(origin_features: OriginFeatures, opened: Array) -> Array:
        origin_weight = np.divide(
            opened, origin_features.opened, out=np.ones(len(opened)), where=origin_features.opened > 0.0
        )
        # A route leaves out the least likely, so that it may be whole already.
        most: Array = np.divide(
            1.0, origin_features.routed, out=np.ones(len(origin_weight)), where=origin_features.routed > 0.0
        )
        return np.minimum(origin_weight, most)

    def follow(
        self,
        origin_features: OriginFeatures,
        probabilities: NDArray[np.floating[Any]],
        backbone: NDArray[np.floating[Any]],
    ) -> tuple[Array, Array]:
        """Take in n events one after the other, each placed before it is learned.

        Args:
            origin_features: their windows.
            probabilities: (n,) of their targets by the route.
            backbone: (n,) of the same by the backbone alone.

        Returns:
            (n,) as of `opened` and (n,) as of `origin_weight`, each before the event was learned.
        """
        opened, origin_weight = np.empty(len(probabilities)), np.empty(len(probabilities))
        for i in range(len(probabilities)):
            event = slice(i, i + 1)
            where = origin_features[event]
            opened[event] = self.opened(where)
            origin_weight[event] = self._origin_weight(where, opened[event])
            probability = float(reweighted(probabilities[event], backbone[event], origin_weight[event])[0])
            self.learn(
                where.setup_shares[0], int(where.since_setup[0]), float(opened[i]), probability, float(backbone[i])
            )
        return opened, origin_weight

    def learn(self, setup_shares: Array, since_setup: int, opened: float, probability: float, backbone: float) -> None:
        """Take in an event.

        Args:
            setup_shares: (setup_shares,) shares of the tastes of set-up in its window.
            since_setup: how many items of the window were taken since set-up.
            opened: p' of the window.
            probability: that the target was given by content and era.
            backbone: that the backbone alone gave it.
        """
        self._log_odds *= self._kept
        if since_setup > 0:
            gradient = (1.0 - opened) * (1.0 - backbone / max(probability, 1e-12))
            self._log_odds += self._learning_rate * gradient * counted(setup_shares)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What was learned; `restore` continues from it to the bit."""
        return {"eras": self._log_odds.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `to_arrays` gave."""
        self._log_odds = arrays["eras"].copy()
