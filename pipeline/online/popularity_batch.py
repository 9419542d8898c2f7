"""Counts of a trend as a batch of answers is mixed with them: in single precision, and nothing written but the answers.

What is gated one by one is mixed from the counts themselves (`DecayedPopularity.blended`), in double precision: replay
and gate rank by it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array
from pipeline.models.lora.sparse import compressed, whole_lines

_LARGEST_GROWTH = 2.0**60
"""Single precision holds no more; then all counts are taken over anew."""


class PopularityBatch:
    """Rows that the trend in an answer is a sum of: taste by taste those of all half-lives, all tastes', the usual.

    Args:
        counts: (setup_shares + 1, half_lives, items + 1) as `DecayedPopularity` keeps them, those of all tastes last.
        weight: (half_lives,) of an event of now.
        usual: (items + 1,) probabilities of set-up.
    """

    def __init__(self, counts: Array, weight: Array, usual: Array) -> None:
        setup_shares, lives, items = counts.shape
        self._rows = torch.zeros(setup_shares * lives + 1, whole_lines(items))[:, :items]
        self._rows[-1] = torch.from_numpy(usual)
        # The same memory, as the counts are laid out.
        self._counts = self._rows[:-1].unflatten(0, (setup_shares, lives)).numpy()
        self._take_over(counts, weight)

    def follow(self, counts: Array, weight: Array, row: int) -> None:
        """Take in that an event was counted: an item of catalogue row `row`."""
        origin_weight = weight / self._unit
        if origin_weight.min() < 1.0 or origin_weight.max() > _LARGEST_GROWTH:
            self._take_over(counts, weight)
        else:
            self._counts[:, :, row] = counts[:, :, row] / self._unit

    def add(
        self, answers: Tensor, windows: NDArray[np.int64], setup_shares: NDArray[np.int64], worth: Array, shared: Array
    ) -> None:
        """Add the trend to (n, items + 1) answers, in place.

        Args:
            answers: to n windows.
            windows: (k,) which of them has a taste, in order.
            setup_shares: (k,) the taste.
            worth: (k, half_lives) what a count of it is worth there.
            shared: (n, half_lives + 1) what counts of all tastes are worth in each window, and what is usual.
        """
        lives = len(self._unit)
        scaled = torch.from_numpy((worth * self._unit).astype(np.float32))
        columns = torch.from_numpy(setup_shares[:, None] * lives + np.arange(lives))
        counts = torch.from_numpy(np.bincount(windows, minlength=len(answers)) * lives)
        answers.addmm_(compressed(counts, columns.flatten(), scaled.flatten(), len(self._rows)), self._rows)
        shared = shared * np.append(self._unit, 1.0)
        answers.addmm_(torch.from_numpy(shared.astype(np.float32)), self._rows[-lives - 1 :])

    def _take_over(self, counts: Array, weight: Array) -> None:
        self._unit = weight.copy()
        self._counts[:] = counts / weight[:, None]
