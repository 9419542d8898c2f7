"""Changes of a route: weights of the regions' columns in the mixture of probabilities."""

import numpy as np

from pipeline.arrays import Array


def rerouted(route: Array, origin_weight: Array) -> Array:
    """(n, c) route in which all columns but the first count (n,) `origin_weight` times as much."""
    weights: Array = route * origin_weight[:, None]
    weights[:, 0] = 1.0 - weights[:, 1:].sum(axis=1)
    return np.where(origin_weight[:, None] == 1.0, route, weights)


def weighted(route: Array, adapter_weight: Array) -> Array:
    """(n, c) route times the (c,) weight of each column's adapter; column 0 gets the rest."""
    shares: Array = route * adapter_weight
    shares[:, 0] += (route * (1.0 - adapter_weight)).sum(axis=1)
    return shares
