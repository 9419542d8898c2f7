"""Origin prior: online log-odds correction per region between backbone and stream regions.

Preferences of a region may change back, and change again. Windows show that late, because they hold earlier items; the
probabilities of the next targets show it at once. With p the posterior of the stream regions by content, s_k the share
of set-up region k in the window, and e_k the correction learned for that region,

    logit p' = logit p + sum_k s_k e_k

e follows the gradient of log P(target), P = (1 - p') P_backbone + p' P_opened, one step an event, and decays: a mixture
of two experts (Jacobs et al., 1991) with forgetting, so that it can track the best one (Herbster and Warmuth, 1998).
Windows without items taken since set-up are not corrected.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.online.decayed_popularity import counted
from pipeline.regions.bank import Posterior, RegionBank


@dataclass(frozen=True)
class OriginFeatures:
    """Inputs of the origin prior for n windows.

    Attributes:
        opened: (n,) posterior of all stream regions together.
        routed: (n,) weight of the stream regions in the route.
        setup_shares: (n, regions) shares of the set-up regions.
        since_setup: (n,) number of items of each window taken since set-up.
    """

    opened: Array
    routed: Array
    setup_shares: Array
    since_setup: NDArray[np.int64]

    def __getitem__(self, index: slice) -> "OriginFeatures":
        return OriginFeatures(self.opened[index], self.routed[index], self.setup_shares[index], self.since_setup[index])


def setup_shares_of(setup_bank: RegionBank, posterior: Posterior) -> Array:
    """(n, regions) shares of the counted set-up regions: a set-up region keeps its column when it ends.

    Args:
        setup_bank: the regions before any revision.
        posterior: posterior over the live regions.
    """
    columns = {r.region_id: column for column, r in enumerate(setup_bank.setup)}
    live = posterior.region_ids[: posterior.setup_shares.shape[1]]
    setup_shares = np.zeros((len(posterior.setup_shares), len(columns)))
    setup_shares[:, [columns[region_id] for region_id in live.tolist()]] = posterior.setup_shares
    return setup_shares


def origin_features(
    setup_bank: RegionBank, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]
) -> OriginFeatures:
    """Inputs of the origin prior for n windows.

    Args:
        setup_bank: the regions before any revision.
        posterior: posterior over the live regions.
        route: (n, 1 + stream) route by that posterior.
        since_setup: (n,) number of items of each window taken since set-up.
    """
    return OriginFeatures(posterior.stream, 1.0 - route[:, 0], setup_shares_of(setup_bank, posterior), since_setup)


def reweighted(probabilities: NDArray[Any], backbone: NDArray[Any], origin_weight: Array) -> Array:
    """Probabilities in which the stream regions count `origin_weight` times as much.

    Args:
        probabilities: mixed probabilities of backbone and stream regions, any shape.
        backbone: probabilities of the backbone alone, of the same shape.
        origin_weight: factor of the stream regions, of a shape that broadcasts.
    """
    changed = backbone + origin_weight * (probabilities - backbone)
    # A factor of 1 leaves every bit as it is.
    result: Array = np.where(origin_weight == 1.0, probabilities, np.maximum(changed, 0.0))
    return result


class OriginPrior:
    """Log odds of the stream regions for each set-up region, beyond the content of a window.

    Args:
        regions: number of set-up regions.
        learning_rate: step of the gradient; 0: no correction.
        half_life: events after which the learned log odds are halved.
    """

    def __init__(self, regions: int, learning_rate: float, half_life: float) -> None:
        self._log_odds = np.zeros(regions)
        self._learning_rate = learning_rate
        self._decay = 0.5 ** (1.0 / half_life)

    def opened(self, origin_features: OriginFeatures) -> Array:
        """(n,) p': corrected posterior of the stream regions."""
        log_odds = np.where(
            origin_features.since_setup > 0, counted(origin_features.setup_shares) @ self._log_odds, 0.0
        )
        likelier = origin_features.opened * np.exp(log_odds)
        opened: Array = np.where(
            log_odds == 0.0, origin_features.opened, likelier / (likelier + 1.0 - origin_features.opened)
        )
        return opened

    def origin_weight(self, origin_features: OriginFeatures) -> Array:
        """(n,) factor of the stream regions in each route."""
        return self._origin_weight(origin_features, self.opened(origin_features))

    @staticmethod
    def _origin_weight(origin_features: OriginFeatures, opened: Array) -> Array:
        origin_weight = np.divide(
            opened, origin_features.opened, out=np.ones(len(opened)), where=origin_features.opened > 0.0
        )
        # A route leaves out improbable regions, so that its weight may be 1 already.
        most: Array = np.divide(
            1.0, origin_features.routed, out=np.ones(len(origin_weight)), where=origin_features.routed > 0.0
        )
        return np.minimum(origin_weight, most)

    def score_and_learn(
        self,
        origin_features: OriginFeatures,
        probabilities: NDArray[np.floating[Any]],
        backbone: NDArray[np.floating[Any]],
        scored: NDArray[np.bool_],
    ) -> tuple[Array, Array]:
        """Learn from n events one after the other; each is scored before it is learned.

        Args:
            origin_features: inputs of their windows.
            probabilities: (n,) probabilities of their targets by the route.
            backbone: (n,) probabilities of their targets by the backbone alone.
            scored: (n,) True for targets that existed; nothing is learned from the others.

        Returns:
            (n,) results of `opened` and (n,) of `origin_weight`, each before the event was learned.
        """
        opened, origin_weight = np.empty(len(probabilities)), np.empty(len(probabilities))
        for i in range(len(probabilities)):
            event = slice(i, i + 1)
            this = origin_features[event]
            opened[event] = self.opened(this)
            origin_weight[event] = self._origin_weight(this, opened[event])
            if scored[i]:
                probability = float(reweighted(probabilities[event], backbone[event], origin_weight[event])[0])
                since = int(this.since_setup[0])
                self.learn(this.setup_shares[0], since, float(opened[i]), probability, float(backbone[i]))
        return opened, origin_weight

    def learn(self, setup_shares: Array, since_setup: int, opened: float, probability: float, backbone: float) -> None:
        """Learn from an event.

        Args:
            setup_shares: (regions,) shares of the set-up regions in its window.
            since_setup: number of items of the window taken since set-up.
            opened: p' of the window.
            probability: probability of the target by the corrected route.
            backbone: probability of the target by the backbone alone.
        """
        self._log_odds *= self._decay
        if since_setup > 0:
            gradient = (1.0 - opened) * (1.0 - backbone / max(probability, 1e-12))
            self._log_odds += self._learning_rate * gradient * counted(setup_shares)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the learned log odds; `restore` continues from them to the bit."""
        return {"eras": self._log_odds.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the result of `to_arrays`."""
        self._log_odds = arrays["eras"].copy()
