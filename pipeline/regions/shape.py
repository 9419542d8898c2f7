"""Shape of a region: centroid, radius and concentration, estimated from its windows and updated with new ones."""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Array
from pipeline.regions.region import Region
from pipeline.regions.vmf import MAX_CONCENTRATION, angles


@dataclass(frozen=True)
class Shape:
    """(d,) unit centroid, radius in radians, and concentration of a region's windows."""

    centroid: Array
    radius: float
    concentration: float


def shape_of(vectors: Array, radius_quantile: float) -> Shape:
    """Centroid, radius and concentration of (n, d) unit vectors, n >= 1.

    kappa = r (d - r^2) / (1 - r^2) with r the length of the mean vector (Banerjee et al., 2005, eq. 4.4).
    """
    mean = vectors.mean(axis=0)
    length = float(np.linalg.norm(mean))
    # Windows that cancel out have no common direction: the first one is as good as any.
    centroid = mean / length if length > 1e-9 else vectors[0]
    dimensions = vectors.shape[1]
    kappa = length * (dimensions - length**2) / max(1.0 - length**2, 1e-12)
    radius = float(np.quantile(angles(vectors, centroid[None])[:, 0], radius_quantile))
    return Shape(centroid, radius, min(kappa, MAX_CONCENTRATION))


def moved(region: Region, vectors: Array, rate: float, radius_quantile: float) -> Shape:
    """Shape of a region after new windows: exponential average of its own shape and theirs.

    Args:
        region: the region before.
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
