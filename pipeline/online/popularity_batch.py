"""Single-precision copy of decayed counts, for adding them to a batch of probabilities in place.

Gate and replay mix from the counts themselves, in double precision (`DecayedPopularity.blended`), and rank by that.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array
from pipeline.models.lora.sparse import compressed, whole_lines
from pipeline.models.lora.widening import with_slack

_LARGEST_GROWTH = 2.0**60
"""Bound of weights in single precision; beyond it all counts are copied anew."""


class PopularityBatch:
    """Rows that are summed: counts by region and half-life, those of all regions last, then the set-up popularity.

    The rows have room for more items once the catalogue grew.

    Args:
        counts: (regions + 1, half_lives, items + 1) as `DecayedPopularity` keeps them, those of all regions last.
        weight: (half_lives,) weight of a new event.
        usual: (items + 1,) popularity in set-up, as probabilities.
    """

    def __init__(self, counts: Array, weight: Array, usual: Array) -> None:
        self._allocate(counts, whole_lines(counts.shape[2]))
        self._take_over(counts, weight)
        self._rows[-1] = torch.from_numpy(usual)

    def update(self, counts: Array, weight: Array, row: int) -> None:
        """Copy the counts of catalogue row `row`, in which an event was counted."""
        self._copy(counts, weight, slice(row, row + 1))

    def resize(self, counts: Array, weight: Array, usual: Array, changed: Sequence[int]) -> None:
        """Follow a catalogue of more items, or with other items in some rows.

        Args:
            counts: (regions + 1, half_lives, items + 1) as `DecayedPopularity` keeps them, not fewer items than before.
            weight: (half_lives,) weight of a new event.
            usual: (items + 1,) popularity in set-up, as probabilities.
            changed: catalogue rows whose counts changed; those that are new here count as changed.
        """
        known, items = self._counts.shape[2], counts.shape[2]
        if items > self._table.shape[1]:
            self._allocate(counts, with_slack(items))
            self._take_over(counts, weight)
        else:
            self._show(counts)
            self._copy(counts, weight, sorted({*changed, *range(known, items)}))
        self._rows[-1] = torch.from_numpy(usual)

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
            probabilities: weighted probabilities of n windows, of as many items as the counts have or fewer.
            windows: (k,) indices of windows, in order.
            regions: (k,) a region that counts in each of them.
            weights: (k, half_lives) weights of the region's counts there.
            shared: (n, half_lives + 1) weights in each window of the counts of all regions, and of set-up popularity.
        """
        lives, rows = len(self._unit), self._rows[:, : probabilities.shape[1]]
        scaled = torch.from_numpy((weights * self._unit).astype(np.float32))
        columns = torch.from_numpy(regions[:, None] * lives + np.arange(lives))
        counts = torch.from_numpy(np.bincount(windows, minlength=len(probabilities)) * lives)
        probabilities.addmm_(compressed(counts, columns.flatten(), scaled.flatten(), len(rows)), rows)
        shared = shared * np.append(self._unit, 1.0)
        probabilities.addmm_(torch.from_numpy(shared.astype(np.float32)), rows[-lives - 1 :])

    def _allocate(self, counts: Array, width: int) -> None:
        self._table = torch.zeros(counts.shape[0] * counts.shape[1] + 1, width)
        self._show(counts)

    def _show(self, counts: Array) -> None:
        """Use as many columns as the counts have items."""
        regions, lives, items = counts.shape
        self._rows = self._table[:, :items]
        # The same memory in the layout of the counts.
        self._counts = self._rows[:-1].unflatten(0, (regions, lives)).numpy()

    def _copy(self, counts: Array, weight: Array, rows: slice | list[int]) -> None:
        """Copy the counts of some catalogue rows, or of all where the weights left the bounds of the unit."""
        growth = weight / self._unit
        if growth.min() < 1.0 or growth.max() > _LARGEST_GROWTH:
            self._take_over(counts, weight)
        else:
            self._counts[:, :, rows] = counts[:, :, rows] / self._unit[:, None]

    def _take_over(self, counts: Array, weight: Array) -> None:
        self._unit = weight.copy()
        self._counts[:] = counts / weight[:, None]
