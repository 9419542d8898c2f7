"""Projection of vectors onto a plane (PCA)."""

import numpy as np

from pipeline.arrays import Array


class Plane:
    """Plane of the two main axes of (n, d) vectors (PCA); the largest component of each axis is positive.

    Args:
        vectors: (n, d), n >= 1 and d >= 2.

    Attributes:
        share: share of their variance that lies in the plane; 1 where they do not vary.
    """

    def __init__(self, vectors: Array) -> None:
        self._center = vectors.mean(axis=0)
        _, lengths, axes = np.linalg.svd(vectors - self._center, full_matrices=False)
        # One vector has no second axis: the coordinate on it is 0.
        axes = np.vstack([axes[:2], np.zeros((2 - len(axes[:2]), vectors.shape[1]))])
        longest = axes[np.arange(2), np.abs(axes).argmax(axis=1)]
        self._axes = axes * np.where(longest < 0, -1.0, 1.0)[:, None]
        variance = lengths**2
        self.share = float(variance[:2].sum() / variance.sum()) if variance.sum() > 0 else 1.0

    def project(self, vectors: Array) -> Array:
        """Project (n, d) vectors to (n, 2) coordinates."""
        flat: Array = (vectors - self._center) @ self._axes.T
        return flat
