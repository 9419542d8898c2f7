"""Encoding of windows, as `pipeline.regions.features` computes it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array


@dataclass(frozen=True)
class Encoded:
    """Encoding of n windows.

    Attributes:
        means: (n, d) unit vectors, mean state over the window's items.
        features: (n, f) features of the origin classifier: mean state, last state and familiarity of the items.
        recent: (n, setup_regions) log of one plus the number of items taken since set-up, times the share of each
            set-up region in the window.
    """

    means: Array
    features: Array
    recent: Array

    @staticmethod
    def timeless(features: Array) -> "Encoded":
        """Encoding from (n, f) features alone, without recency."""
        return Encoded(features, features, np.zeros((len(features), 0)))

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Encoded":
        return Encoded(self.means[index], self.features[index], self.recent[index])
