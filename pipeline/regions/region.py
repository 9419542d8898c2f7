"""Preference regions: parts of the representation space that share a taste, on the unit sphere.

Set-up regions come from spherical k-means (Dhillon and Modha, 2001); each is described by a von
Mises-Fisher density (Banerjee et al., 2005), normaliser included: without it the region of the largest
concentration takes nearly every window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

Array = NDArray[np.float64]

SET_UP = "set-up"
"""Origin of the regions that the frozen backbone answers for."""

SINCE = "since"
"""Origin of the regions opened on a stretch of the stream; each has an adapter of its own."""

MAX_CONCENTRATION = 2_000.0
"""Windows of one region differ; a larger estimate says that there were too few of them."""


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
        trust: share of its adapter in the answers of the region; the backbone has the rest. Learned on
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
    trust: float = 1.0

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


def angles(vectors: Array, centroids: Array) -> Array:
    """(n, d) and (k, d) unit vectors to (n, k) angles in radians."""
    angle: Array = np.arccos(np.clip(vectors @ centroids.T, -1.0, 1.0))
    return angle


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


def spherical_kmeans(
    vectors: Array, clusters: int, seed: int, restarts: int = 4, iterations: int = 50
) -> NDArray[np.int64]:
    """Cluster unit vectors by cosine.

    Args:
        vectors: (n, d) unit vectors.
        clusters: at most n; an empty cluster is started anew from the vector that fits worst.
        seed: for the k-means++ starts.
        restarts: runs from starts of their own; the best is kept.
        iterations: at most, in each run.

    Returns:
        (n,) labels 0 … clusters - 1.
    """
    rng = np.random.default_rng(seed)
    runs = (_one_kmeans(vectors, min(clusters, len(vectors)), rng, iterations) for _ in range(restarts))
    return max(runs, key=lambda run: run[1])[0]


def _one_kmeans(
    vectors: Array, clusters: int, rng: np.random.Generator, iterations: int
) -> tuple[NDArray[np.int64], float]:
    centroids = _spread_starts(vectors, clusters, rng)
    labels = np.full(len(vectors), -1, dtype=np.int64)
    for _ in range(iterations):
        similarity = vectors @ centroids.T
        fresh = similarity.argmax(axis=1)
        if np.array_equal(fresh, labels):
            break
        labels = fresh
        for k in range(clusters):
            members = vectors[labels == k]
            mean = members.sum(axis=0) if len(members) else vectors[similarity.max(axis=1).argmin()]
            centroids[k] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return labels, float((vectors * centroids[labels]).sum())


def _spread_starts(vectors: Array, clusters: int, rng: np.random.Generator) -> Array:
    chosen = [int(rng.integers(len(vectors)))]
    distance = 1.0 - vectors @ vectors[chosen[0]]
    for _ in range(clusters - 1):
        weight = np.clip(distance, 1e-12, None)
        chosen.append(int(rng.choice(len(vectors), p=weight / weight.sum())))
        distance = np.minimum(distance, 1.0 - vectors @ vectors[chosen[-1]])
    return vectors[chosen].copy()


def log_density(vectors: Array, centroids: Array, concentrations: Array) -> Array:
    """Log of the von Mises-Fisher density of (n, d) unit vectors under k regions, (n, k).

    log f(x) = log C_d(kappa) + kappa cos(x, c), C_d(kappa) = kappa^nu / ((2 pi)^(d/2) I_nu(kappa)), nu = d/2 - 1.
    The constant (2 pi)^(d/2) is left out: it is the same for all regions.
    """
    nu = vectors.shape[1] / 2.0 - 1.0
    kappa = np.maximum(concentrations, 1e-9)
    normaliser = nu * np.log(kappa) - _log_bessel(nu, kappa)
    density: Array = normaliser + concentrations * (vectors @ centroids.T)
    return density


def weighted_densities(regions: Sequence[Region], vectors: Array) -> Array:
    """(n, k) log of prior times density of (n, d) unit vectors under k regions, priors made to sum to one."""
    priors = np.array([max(r.prior, 1e-6) for r in regions])
    concentrations = np.array([r.concentration for r in regions])
    densities = log_density(vectors, np.stack([r.centroid for r in regions]), concentrations)
    weighted: Array = densities + np.log(priors / priors.sum())
    return weighted


def shares_among(regions: Sequence[Region], vectors: Array) -> Array:
    """(n, k) P(region | vector) of (n, d) unit vectors that lie in one of k regions."""
    log_odds = weighted_densities(regions, vectors)
    odds = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    shares: Array = odds / odds.sum(axis=1, keepdims=True)
    return shares


def _log_bessel(nu: float, x: Array) -> Array:
    """Log I_nu(x), x > 0: exact where I_nu(x) can be held in a float, else by its expansion for large nu."""
    scaled = ive(nu, x)
    held = scaled > 1e-290
    value = np.log(np.where(held, scaled, 1.0)) + x
    value[~held] = _log_bessel_of_large_order(nu, x[~held])
    result: Array = value
    return result


def _log_bessel_of_large_order(nu: float, x: Array) -> Array:
    """Log I_nu(x) by the uniform expansion with its first correction (Abramowitz and Stegun 9.7.7)."""
    z = x / max(nu, 1.0)
    root = np.sqrt(1.0 + z * z)
    t = 1.0 / root
    eta = root + np.log(z / (1.0 + root))
    first = (3.0 * t - 5.0 * t**3) / (24.0 * max(nu, 1.0))
    value: Array = nu * eta - 0.5 * np.log(2.0 * np.pi * max(nu, 1.0)) - 0.5 * np.log(root) + np.log1p(first)
    return value
