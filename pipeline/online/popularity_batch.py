"""Single-precision copy of decayed counts, for adding them to a batch of probabilities in place.

Gate and replay mix from the counts themselves, in double precision (`DecayedPopularity.blended`), and rank by that.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array
from pipeline.models.lora.sparse import compressed, whole_lines

_LARGEST_GROWTH = 2.0**60
"""Bound of weights in single precision; beyond it all counts are copied anew."""


class PopularityBatch:
    """Rows that are summed: counts by region and half-life, those of all regions last, then the set-up popularity.

    Args:
        counts: (regions + 1, half_lives, items + 1) as `DecayedPopularity` keeps them, those of all regions last.
        weight: (half_lives,) weight of a new event.
        usual: (items + 1,) popularity in set-up, as probabilities.
    """

    def __init__(self, counts: Array, weight: Array, usual: Array) -> None:
        regions, lives, items = counts.shape
        self._rows = torch.zeros(regions * lives + 1, whole_lines(items))[:, :items]
        self._rows[-1] = torch.from_numpy(usual)
        # The same memory in the layout of the counts.
        self._counts = self._rows[:-1].unflatten(0, (regions, lives)).numpy()
        self._take_over(counts, weight)

    def update(self, counts: Array, weight: Array, row: int) -> None:
        """Copy the counts of catalogue row `row`, in which an event was counted."""
        growth = weight / self._unit
        if growth.min() < 1.0 or growth.max() > _LARGEST_GROWTH:
            self._take_over(counts, weight)
        else:
            self._counts[:, :, row] = counts[:, :, row] / self._unit

    def add(
        self,
        probabilities: Tensor,
        windows: NDArray[np.int64],
        regions: NDArray[np.int64],
        weights: Array,
        shared: Array,
    ) -> None:
        """Add decayed popularity to (n, items + 1) probabilities, in place.

        Args:
            probabilities: weighted probabilities of n windows.
            windows: (k,) indices of windows, in order.
            regions: (k,) a region that counts in each of them.
            weights: (k, half_lives) weights of the region's counts there.
            shared: (n, half_lives + 1) weights in each window of the counts of all regions, and of set-up popularity.
        """
        lives = len(self._unit)
        scaled = torch.from_numpy((weights * self._unit).astype(np.float32))
        columns = torch.from_numpy(regions[:, None] * lives + np.arange(lives))
        counts = torch.from_numpy(np.bincount(windows, minlength=len(probabilities)) * lives)
        probabilities.addmm_(compressed(counts, columns.flatten(), scaled.flatten(), len(self._rows)), self._rows)
        shared = shared * np.append(self._unit, 1.0)
        probabilities.addmm_(torch.from_numpy(shared.astype(np.float32)), self._rows[-lives - 1 :])

    def _take_over(self, counts: Array, weight: Array) -> None:
        self._unit = weight.copy()
        self._counts[:] = counts / weight[:, None]
