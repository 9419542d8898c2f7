"""Near pairs follow the regions: what is compared anew is what changed."""

from dataclasses import replace
from itertools import combinations

import numpy as np

from pipeline.monitor.near_pairs import NearPairs
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.vmf import angles
from tests.monitor.test_monitor import origins, region

SHARE = 0.25


def wanted(bank: RegionBank) -> list[tuple[int, int]]:
    """The same, pair by pair."""
    found = []
    for group in (bank.setup, bank.stream):
        for one, two in combinations(sorted(group, key=lambda r: r.region_id), 2):
            angle = angles(one.centroid[None], two.centroid[None])[0, 0]
            if angle <= SHARE * min(one.radius, two.radius) and one.version + two.version:
                found.append((one.region_id, two.region_id))
    return found


def drawn(rng: np.random.Generator, region_id: int, origin: Origin) -> Region:
    """A region near one of few directions."""
    centroid = np.eye(3)[rng.integers(3)] + 0.1 * rng.normal(size=3)
    version, radius = int(rng.integers(2)), float(rng.uniform(0.3, 0.9))
    return region(region_id, centroid, origin, version=version, radius=radius)


def test_pairs_are_those_of_all_regions_after_every_change() -> None:
    rng, near = np.random.default_rng(0), NearPairs(SHARE)
    regions = {i: drawn(rng, i, Origin.BASE if i <= 6 else Origin.STREAM) for i in range(1, 20)}
    counts = set()
    for _ in range(60):
        region_id = int(rng.integers(1, 26))
        known = regions.get(region_id)
        if known is not None and rng.random() < 0.3 and region_id > 2:
            regions[region_id] = replace(known, status=Status.RETIRED)
        elif known is None or known.status is Status.LIVE:
            regions[region_id] = drawn(rng, region_id, Origin.BASE if region_id <= 6 else Origin.STREAM)
        live = [i for i, r in regions.items() if r.origin is Origin.STREAM and r.status is Status.LIVE]
        bank = RegionBank(tuple(regions[i] for i in sorted(regions)), origins(*sorted(live)))
        found = near.of(bank)
        assert list(found) == wanted(bank)
        assert near.of(bank) is found
        counts.add(len(found))
    assert len(counts) > 5
