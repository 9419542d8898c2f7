"""Von Mises-Fisher densities of regions on the unit sphere (Banerjee et al., 2005).

The normaliser is included: without it the region of the largest concentration takes nearly every window.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ive

from pipeline.arrays import Array
from pipeline.regions.region import Region

MAX_CONCENTRATION = 2_000.0
"""Upper bound of kappa: a larger estimate is due to too few windows."""


def angles(vectors: Array, centroids: Array) -> Array:
    """(n, d) and (k, d) unit vectors to (n, k) angles in radians."""
    angle: Array = np.arccos(np.clip(vectors @ centroids.T, -1.0, 1.0))
    return angle


def log_density(vectors: Array, centroids: Array, concentrations: Array) -> Array:
    """Log of the von Mises-Fisher density of (n, d) unit vectors under k regions, (n, k).

    log f(x) = log C_d(kappa) + kappa cos(x, c), C_d(kappa) = kappa^nu / ((2 pi)^(d/2) I_nu(kappa)), nu = d/2 - 1.
    The constant (2 pi)^(d/2) is omitted: it is the same for all regions.
    """
    nu = vectors.shape[1] / 2.0 - 1.0
    kappa = np.maximum(concentrations, 1e-9)
    normaliser = nu * np.log(kappa) - _log_bessel(nu, kappa)
    density: Array = normaliser + concentrations * (vectors @ centroids.T)
    return density


def weighted_densities(regions: Sequence[Region], vectors: Array) -> Array:
    """(n, k) log of prior times density of (n, d) unit vectors under k regions, priors normalised to sum to 1."""
    priors = np.array([max(r.prior, 1e-6) for r in regions])
    concentrations = np.array([r.concentration for r in regions])
    densities = log_density(vectors, np.stack([r.centroid for r in regions]), concentrations)
    weighted: Array = densities + np.log(priors / priors.sum())
    return weighted


def shares_among(regions: Sequence[Region], vectors: Array) -> Array:
    """(n, k) P(region | vector) of (n, d) unit vectors among k regions."""
    log_odds = weighted_densities(regions, vectors)
    odds = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    shares: Array = odds / odds.sum(axis=1, keepdims=True)
    return shares


def _log_bessel(nu: float, x: Array) -> Array:
    """Log I_nu(x), x > 0: exact where a float can represent I_nu(x), else by its expansion for large nu."""
    scaled = ive(nu, x)
    exact = scaled > 1e-290
    value = np.log(np.where(exact, scaled, 1.0)) + x
    value[~exact] = _log_bessel_of_large_order(nu, x[~exact])
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
