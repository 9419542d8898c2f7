"""Region map: centroids and a sample of windows, projected to two dimensions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import Windows
from pipeline.regions.bank import RegionBank
from pipeline.regions.projection import Plane
from pipeline.regions.region import Origin
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.raie.replayed import Raie

MAP_WINDOWS = 1_500
"""Maximum number of windows on the map: half from set-up, the rest from the stream."""


def region_map(raie: Raie, setup: SetUp, stream: Windows, regions: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Rows of `regions.parquet`: every region's centroid and a sample of windows, in two dimensions.

    Args:
        raie: after the last edit.
        setup: its set-up.
        stream: (n,) observed windows.
        regions: (n,) their top regions.
    """
    bank = raie.live.bank
    reference = _spread(np.arange(len(setup.reference)), MAP_WINDOWS // 2)
    warm = _spread(np.flatnonzero(~stream.cold), MAP_WINDOWS - len(reference))
    sample = raie.known_windows(stream[warm])
    encoded = setup.view(raie.live.host.states(sample.contexts, None), sample.contexts, sample.since_setup)
    means = np.concatenate([setup.encoded.means[reference], encoded.means])
    plane = Plane(means)
    tops = np.concatenate([setup.reference_regions[reference], bank.posterior(encoded).tops])
    centroids = np.stack([region.centroid for region in bank.regions])
    windows = {region.region_id: int((regions == region.region_id).sum()) for region in bank.regions}
    return _centroid_rows(bank, plane.project(centroids), windows) + _window_rows(bank, plane.project(means), tops)


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows, evenly spaced."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def _centroid_rows(bank: RegionBank, positions: Array, windows: Mapping[int, int]) -> list[dict[str, Any]]:
    return [
        {
            "kind": "centroid",
            "region_id": region.region_id,
            "origin": region.origin,
            "status": str(region.status),
            "windows": windows[region.region_id],
            "radius": region.radius,
            "opened_at_event": None if region.origin == Origin.BASE else region.opened_at,
            "x": float(x),
            "y": float(y),
        }
        for region, (x, y) in zip(bank.regions, positions, strict=True)
    ]


def _window_rows(bank: RegionBank, positions: Array, tops: NDArray[np.int64]) -> list[dict[str, Any]]:
    origins = {region.region_id: region.origin for region in bank.regions}
    return [
        {"kind": "window", "region_id": int(top), "origin": origins[int(top)], "x": float(x), "y": float(y)}
        for top, (x, y) in zip(tops, positions, strict=True)
    ]
