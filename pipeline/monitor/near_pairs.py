"""Pairs of regions whose centroids are near each other; a change of a region costs one comparison with all others."""

from collections.abc import Collection, Sequence

import numpy as np

from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Origin, Region

SLACK = 1e-6
"""Added to a cosine: products of many vectors differ in their last bits from that of two."""


class NearPairs:
    """Pairs of live regions of one origin that are nearer than a share of the smaller radius, or nearly so.

    Pairs of regions that no edit has changed are left out.

    Args:
        share: of the radius, below 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._bank: RegionBank | None = None
        self._known: dict[int, Region] = {}
        self._pairs: set[tuple[int, int]] = set()
        self._ordered: list[tuple[int, int]] = []

    def of(self, bank: RegionBank) -> Sequence[tuple[int, int]]:
        """Return ids of each pair, the smaller first: set-up regions, then those of the stream, in order of ids."""
        if bank is not self._bank:
            self._bank = bank
            live = {r.region_id: r for r in bank.live}
            changed = {i for i, region in live.items() if self._known.get(i) is not region}
            stale = changed | (self._known.keys() - live.keys())
            self._known = live
            if stale:
                self._pairs = {pair for pair in self._pairs if stale.isdisjoint(pair)}
                for origin in Origin:
                    self._add([r for r in live.values() if r.origin is origin], changed)
                of_setup = {r.region_id for r in bank.setup}
                self._ordered = sorted(self._pairs, key=lambda pair: (pair[0] not in of_setup, pair))
        return self._ordered

    def _add(self, group: Sequence[Region], changed: Collection[int]) -> None:
        """Add the pairs of one origin in which a region has changed."""
        places = [place for place, region in enumerate(group) if region.region_id in changed]
        if not places:
            return
        centroids = np.stack([r.centroid for r in group])
        versions = np.array([r.version for r in group])
        # The cosine falls with the angle: the smaller radius has the larger one.
        least = np.cos(np.minimum(self._share * np.array([r.radius for r in group]), np.pi)) - SLACK
        near = centroids[places] @ centroids.T >= np.maximum.outer(least[places], least)
        near &= np.add.outer(versions[places], versions) > 0
        for place, other in zip(*np.nonzero(near), strict=True):
            one, two = group[places[place]].region_id, group[other].region_id
            if one != two:
                self._pairs.add((min(one, two), max(one, two)))
