"""Preference regions: parts of the representation space that share a taste, on the unit sphere.

Set-up regions come from spherical k-means (Dhillon and Modha, 2001); each is described by a von
Mises-Fisher density (Banerjee et al., 2005), normaliser included: without it the region of the largest
concentration takes nearly every window.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.regions.vmf import MAX_CONCENTRATION, angles

Array = NDArray[np.float64]


SET_UP = "set-up"
"""Origin of the regions that the frozen backbone answers for."""


SINCE = "since"
"""Origin of the regions opened on a stretch of the stream; each has an adapter of its own."""


class Status(StrEnum):
    """Whether a region is in use."""

    LIVE = "live"
    MERGED = "merged"
    RETIRED = "retired"


@dataclass(frozen=True)
class Region:
    """One preference region.

    Attributes:
        region_id: issued once, never reused.
        version: n-th state of the region, 0 at its opening.
        status: live, merged or retired.
        origin: "set-up" or "since".
        parent: the region that it grew out of, or None.
        centroid: (d,) unit vector.
        radius: angle in radians that holds `radius_quantile` of its windows.
        concentration: kappa of its von Mises-Fisher density.
        prior: share of windows that were its own when it was last estimated.
        adapter: name of its live adapter version, or None (the backbone answers).
        opened_at: events of the stream seen when it was opened, 0 for set-up.
        adapter_weight: share of its adapter in the answers of the region; the backbone has the rest. Learned on
            held-out windows: an adapter is surest where it learned least.
    """

    region_id: int
    version: int
    status: Status
    origin: str
    parent: int | None
    centroid: Array
    radius: float
    concentration: float
    prior: float
    adapter: str | None = None
    opened_at: int = 0
    adapter_weight: float = 1.0

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "status": str(self.status), "centroid": self.centroid.tolist()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        centroid = np.array(record["centroid"], dtype=np.float64)
        return cls(**{**record, "status": Status(record["status"]), "centroid": centroid})


@dataclass(frozen=True)
class Shape:
    """Where the windows of a region lie: (d,) unit centroid, radius in radians, concentration."""

    centroid: Array
    radius: float
    concentration: float


def shape_of(vectors: Array, radius_quantile: float) -> Shape:
    """Centroid, radius and concentration of (n, d) unit vectors, n >= 1.

    kappa = r (d - r^2) / (1 - r^2) with r the length of the mean vector (Banerjee et al., 2005, eq. 4.4).
    """
    mean = vectors.mean(axis=0)
    length = float(np.linalg.norm(mean))
    # Windows that cancel out have no common direction: any one of them will do.
    centroid = mean / length if length > 1e-9 else vectors[0]
    dimensions = vectors.shape[1]
    kappa = length * (dimensions - length**2) / max(1.0 - length**2, 1e-12)
    radius = float(np.quantile(angles(vectors, centroid[None])[:, 0], radius_quantile))
    return Shape(centroid, radius, min(kappa, MAX_CONCENTRATION))


def moved(region: Region, vectors: Array, rate: float, radius_quantile: float) -> Shape:
    """A region's shape after new windows: exponential average of the old one and theirs.

    Args:
        region: as it was.
        vectors: (n, d) its new windows.
        rate: weight of the new windows, 0 to 1.
        radius_quantile: share of windows within the radius.
    """
    new = shape_of(vectors, radius_quantile)
    mean = (1.0 - rate) * region.centroid + rate * new.centroid
    return Shape(
        mean / np.linalg.norm(mean),
        (1.0 - rate) * region.radius + rate * new.radius,
        (1.0 - rate) * region.concentration + rate * new.concentration,
    )
