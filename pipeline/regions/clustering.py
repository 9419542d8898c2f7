"""Spherical k-means (Dhillon and Modha, 2001): clusters of unit vectors by cosine similarity."""

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array


def spherical_kmeans(
    vectors: Array, clusters: int, seed: int, restarts: int = 4, iterations: int = 50
) -> NDArray[np.int64]:
    """Cluster unit vectors by cosine.

    Args:
        vectors: (n, d) unit vectors.
        clusters: number of clusters, at most n; an empty cluster restarts from the vector that fits worst.
        seed: seed of the k-means++ starts.
        restarts: number of runs, each from its own starts; the best is kept.
        iterations: most iterations of a run.

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
