"""Scoring of windows under one revision: encode, estimate the posterior, route, mix probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids
from pipeline.online.origin_prior import OriginFeatures, origin_features, setup_shares_of
from pipeline.recommend.backends import Backend
from pipeline.recommend.canary import Canary, split
from pipeline.recommend.candidates.query import Query, recent_shares
from pipeline.recommend.model_scores import ModelScores
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.features import GateView
from pipeline.regions.route import rerouted

OriginWeight = Callable[[Posterior, Array], Array]
"""Origin prior: posterior and (n, 1 + stream) route to the (n,) factor of the stream regions."""


@dataclass(frozen=True)
class ScoredBatch:
    """Scores of n windows.

    Attributes:
        posterior: over the live regions.
        route: (n, 1 + stream) weights of backbone and stream regions.
        scores: probabilities of the next item, mixed by the route, and of the backbone alone.
        fallback: (n,) True where the backbone replaces an adapter that is not loaded.
    """

    posterior: Posterior
    route: Array
    scores: ModelScores
    fallback: NDArray[np.bool_]

    def reweighted(self, origin_weight: Array) -> "ScoredBatch":
        """The batch with the stream regions counting (n,) `origin_weight` times as much."""
        if (origin_weight == 1.0).all():
            return self
        return replace(self, route=rerouted(self.route, origin_weight), scores=self.scores.reweighted(origin_weight))

    def origin_features(self, setup_bank: RegionBank, since_setup: NDArray[np.int64]) -> OriginFeatures:
        """Inputs of the origin prior; see `pipeline.online.origin_prior.origin_features`."""
        return origin_features(setup_bank, self.posterior, self.route, since_setup)

    def queries(
        self, setup_bank: RegionBank, contexts: Ids, earlier: NDArray[np.integer[Any]], since_setup: Ids, opened: Array
    ) -> list[Query]:
        """Queries of the second stage, one for each window.

        Args:
            setup_bank: the regions before any revision.
            contexts: (n, length) the windows.
            earlier: (n, e) distinct items that left them.
            since_setup: (n,) number of items of each window taken since set-up.
            opened: (n,) posterior of the regions of the stream.
        """
        shares, recent = setup_shares_of(setup_bank, self.posterior), recent_shares(contexts, since_setup).tolist()
        return list(map(Query, contexts, earlier, shares, recent, opened.tolist(), self.scores.experts()))


class Scorer:
    """Scores windows with backbone and adapters, without online counts.

    Args:
        backend: computes states and probabilities.
        view: encodes windows for the posterior.
        floor: least posterior of a region that takes part.
    """

    def __init__(self, backend: Backend, view: GateView, floor: float) -> None:
        self._backend, self._view, self._floor = backend, view, floor

    def score(
        self,
        bank: RegionBank,
        contexts: Ids,
        since_setup: NDArray[np.int64],
        existence: Existence,
        origin_weight: OriginWeight | None = None,
        canaries: Sequence[Canary] = (),
        incumbent: NDArray[np.bool_] | None = None,
    ) -> ScoredBatch:
        """Score windows under one revision.

        Args:
            bank: the regions of the revision.
            contexts: (n, length) catalogue rows, left-padded.
            since_setup: (n,) number of items of each window taken since set-up.
            existence: of items for each window; the others have probability 0.
            origin_weight: changes the route before anything is mixed. None: the route is that of the posterior, and
                `ScoredBatch.reweighted` changes it afterwards, for weights that are learned from the probabilities.
            canaries: c trials under way.
            incumbent: (n, c) True for windows that a trial does not reach; None without trials.
        """
        states = self._backend.states(contexts)
        posterior = bank.posterior(self._view(states, contexts, since_setup))
        route = posterior.route(self._floor)
        if origin_weight is not None:
            route = rerouted(route, origin_weight(posterior, route))
        if incumbent is None:
            incumbent = np.zeros((len(contexts), len(canaries)), dtype=np.bool_)
        shares, adapters = split(route, bank, canaries, incumbent)
        mixture = self._backend.mixed(states, contexts, shares, adapters, existence)
        return ScoredBatch(posterior, route, mixture.scores, mixture.fallback)
