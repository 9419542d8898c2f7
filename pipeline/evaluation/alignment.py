"""Alignment of the predictions of all strategies and seeds over the same interactions.

Only common interactions can be compared: strategies with predictions for different interactions are rejected here
instead of being averaged over different sets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.evaluation.predictions import Block, Predictions
from pipeline.metrics.ranking import Floats, recall_at_k


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Interactions of one or more slices, in slice order, and the rank of their targets under each strategy.

    Attributes:
        strategies: names, sorted.
        seeds: sorted.
        user: (n,) int64 number of the user; equal numbers are equal users.
        cold: (n,) bool, whether the user had no history.
        ranks: (strategies, seeds, n) int32, 1 = top, 0 = not scored.
    """

    strategies: list[str]
    seeds: list[int]
    user: NDArray[np.int64]
    cold: NDArray[np.bool_]
    ranks: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.cold)

    def where(self, rows: NDArray[np.bool_]) -> "Aligned":
        """Subset of the interactions.

        Args:
            rows: (n,) mask.
        """
        return Aligned(
            self.strategies,
            self.seeds,
            self.user[rows],
            self.cold[rows],
            self.ranks[:, :, rows],
        )

    def mean_hits(self, k: int) -> Floats:
        """Recall@k of every interaction, averaged over seeds.

        Returns:
            (strategies, n) values in [0, 1].
        """
        means: Floats = recall_at_k(self.ranks, k).mean(axis=1)
        return means


def align(predictions: Predictions, slices: Sequence[str]) -> Aligned:
    """Align the blocks of all strategies and seeds.

    Args:
        predictions: of the run.
        slices: names, concatenated in this order; a slice without predictions is empty.

    Raises:
        DataError: a strategy and seed lacks a slice of the others, or has predictions for other interactions.
    """
    names, seeds = predictions.strategies, predictions.seeds
    empty = np.zeros((len(names), len(seeds), 0), dtype=np.int32)
    references: list[Block] = []
    ranks = [empty]
    for slice_name in slices:
        blocks = _blocks(predictions, slice_name)
        if blocks:
            references.append(blocks[0])
            ranks.append(np.stack([block.rank for block in blocks]).reshape(*empty.shape[:2], -1))
    users = np.concatenate([np.zeros(0, dtype=object), *(block.user_id for block in references)])
    return Aligned(
        strategies=names,
        seeds=seeds,
        user=np.unique(users, return_inverse=True)[1].astype(np.int64),
        cold=np.concatenate([np.zeros(0, dtype=np.bool_), *(block.cold for block in references)]),
        ranks=np.concatenate(ranks, axis=2),
    )


def _blocks(predictions: Predictions, slice_name: str) -> list[Block]:
    """Blocks of a slice by strategy and seed, each sorted by position; empty if none exists."""
    keys = [(name, seed) for name in predictions.strategies for seed in predictions.seeds]
    found = {key: predictions.get(*key, slice_name) for key in keys}
    if all(block is None for block in found.values()):
        return []
    blocks: list[Block] = []
    for (name, seed), block in found.items():
        if block is None:
            raise DataError(f"{name}, seed {seed}, has no predictions on slice {slice_name}, unlike others")
        blocks.append(block.by_position())
        if not _same(blocks[0], blocks[-1]):
            raise DataError(
                f"{name}, seed {seed}, has predictions for other interactions of slice {slice_name} than "
                f"{keys[0][0]}, seed {keys[0][1]}; an interaction that cannot be scored has rank 0"
            )
    return blocks


def _same(a: Block, b: Block) -> bool:
    pairs = ((a.event_id, b.event_id), (a.user_id, b.user_id), (a.cold, b.cold))
    return all(np.array_equal(left, right) for left, right in pairs)
