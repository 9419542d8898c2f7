"""Regions of one revision, their posterior for a window, and its route.

The *route* of a window is the posterior of the regions above the floor, renormalised; all set-up regions count as one,
because the backbone scores for all of them. Probabilities are mixed by the route, never logits.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.regions.encoded import Encoded
from pipeline.regions.injection import NO_INJECTION, Injection
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.route import weighted
from pipeline.regions.vmf import angles, shares_among, weighted_densities


@dataclass(frozen=True)
class Posterior:
    """Posterior over regions of n windows.

    Attributes:
        region_ids: (r,) live regions, set-up regions first.
        probabilities: (n, r) posterior over them.
        stream_regions: number of stream regions: the last columns.
        setup_tops: (n,) the most likely set-up region, whatever the origin.
        setup_shares: (n, set-up regions) P(region | window of set-up).
        setup_margins: (n,) largest of `setup_shares` minus the second; 1 where there is only one region.
        setup_rivals: (n,) the set-up region of that second share; the first where there is only one.
        angles: (n,) angle in radians to the centroid of the top region.
    """

    region_ids: Ids
    probabilities: Array
    stream_regions: int
    setup_tops: Ids
    setup_shares: Array
    setup_margins: Array
    setup_rivals: Ids
    angles: Array

    @property
    def tops(self) -> Ids:
        """(n,) region id of the top posterior."""
        tops: Ids = self.region_ids[self.probabilities.argmax(axis=1)]
        return tops

    @property
    def confidence(self) -> Array:
        """(n,) the top posterior."""
        top: Array = self.probabilities.max(axis=1)
        return top

    @property
    def stream(self) -> Array:
        """(n,) posterior of all stream regions together."""
        stream: Array = self.probabilities[:, self.probabilities.shape[1] - self.stream_regions :].sum(axis=1)
        return stream

    @property
    def margin(self) -> Array:
        """(n,) top posterior minus the second, 1 where there is only one region."""
        if self.probabilities.shape[1] == 1:
            return np.ones(len(self.probabilities))
        two = np.partition(self.probabilities, -2, axis=1)[:, -2:]
        margin: Array = two[:, 1] - two[:, 0]
        return margin

    def route(self, floor: float) -> Array:
        """(n, 1 + stream) weights of the backbone and of each stream region.

        Args:
            floor: least posterior of a region that takes part.
        """
        setup = self.probabilities.shape[1] - self.stream_regions
        shares = np.concatenate(
            [self.probabilities[:, :setup].sum(axis=1, keepdims=True), self.probabilities[:, setup:]], axis=1
        )
        kept = np.where(shares >= floor, shares, 0.0)
        # With many regions all may lie below the floor: then the most likely one takes the whole route.
        lost = kept.sum(axis=1) == 0.0
        kept[lost, shares[lost].argmax(axis=1)] = 1.0
        weights: Array = kept / kept.sum(axis=1, keepdims=True)
        return weights


@dataclass(frozen=True)
class RegionBank:
    """All regions ever issued, and the classifier of origins: one revision.

    Attributes:
        regions: by region id, ended ones included.
        origins: classifier of set-up and each live stream region.
        gate_version: number of changes of the boundaries.
        injection: versions of injected items, the same for all regions.
    """

    regions: tuple[Region, ...]
    origins: OriginModel
    gate_version: int = 0
    injection: Injection = NO_INJECTION

    @cached_property
    def setup(self) -> tuple[Region, ...]:
        """Live set-up regions."""
        return tuple(r for r in self.regions if r.status is Status.LIVE and r.origin == Origin.BASE)

    @cached_property
    def stream(self) -> tuple[Region, ...]:
        """Live stream regions, in the order of the origin model."""
        return tuple(self[region_id] for region_id in self.origins.origins)

    @property
    def live(self) -> tuple[Region, ...]:
        """Live regions, set-up regions first: the columns of a posterior."""
        return self.setup + self.stream

    def shares(self, route: Array) -> Array:
        """(n, 1 + stream) weights in the mixed probabilities: those of a route times the adapter weights."""
        return weighted(route, self.adapter_weights)

    @property
    def adapter_weights(self) -> Array:
        """(1 + stream,) weight of the adapter of each column of a route; the backbone has the rest."""
        return np.array([1.0, *(r.adapter_weight for r in self.stream)])

    @property
    def adapters(self) -> tuple[str | None, ...]:
        """Adapter of each column of a route: None for set-up, then those of the stream regions."""
        return (None, *(r.adapter for r in self.stream))

    def __getitem__(self, region_id: int) -> Region:
        return self._by_id[region_id]

    def find(self, region_id: int) -> Region | None:
        """The region of an id, or None."""
        return self._by_id.get(region_id)

    @cached_property
    def _by_id(self) -> dict[int, Region]:
        return {r.region_id: r for r in self.regions}

    def changed(self, *changed: Region) -> "RegionBank":
        """Copy of the bank with regions replaced by id, or added."""
        ids = {r.region_id for r in changed}
        kept = [r for r in self.regions if r.region_id not in ids]
        return replace(self, regions=tuple(sorted([*kept, *changed], key=lambda r: r.region_id)))

    def rebound(self, origins: OriginModel) -> "RegionBank":
        """Copy of the bank with new boundaries and the next gate version."""
        return replace(self, origins=origins, gate_version=self.gate_version + 1)

    def log_likelihood(self, means: Array) -> Array:
        """(n,) log density of (n, d) unit vectors under the mixture of set-up regions, up to a constant."""
        likelihood: Array = np.logaddexp.reduce(weighted_densities(self.setup, means), axis=1)
        return likelihood

    def posterior(self, encoded: Encoded) -> Posterior:
        """Posterior of n windows: P(origin | window) x P(region | origin, window)."""
        among = shares_among(self.setup, encoded.means)
        by_origin = self.origins.posterior(encoded)
        probabilities = np.concatenate([by_origin[:, :1] * among, by_origin[:, 1:]], axis=1)
        ids = np.array([r.region_id for r in self.live], dtype=np.int64)
        top = probabilities.argmax(axis=1)
        every = np.stack([r.centroid for r in self.live])
        angle = angles(encoded.means, every)[np.arange(len(top)), top]
        order = np.argsort(-among, axis=1, kind="stable")[:, :2]
        two = np.take_along_axis(among, order, axis=1)
        margins = two[:, 0] - two[:, 1] if two.shape[1] == 2 else np.ones(len(two))
        setup_tops, rivals = ids[order[:, 0]], ids[order[:, -1]]
        return Posterior(ids, probabilities, len(self.stream), setup_tops, among, margins, rivals, angle)
