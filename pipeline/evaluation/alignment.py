"""The predictions of all strategies and seeds, side by side over the same interactions.

Only what was asked of everyone can be compared: strategies that were asked about different
interactions are refused here instead of being averaged over whatever each of them answered.
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
    """Interactions of one or more slices, in slice order, and the rank each strategy gave their targets.

    Attributes:
        strategies: names, sorted.
        seeds: sorted.
        user: (n,) int64 number of the user; equal numbers are equal users.
        cold: (n,) bool, whether the user had no history.
        ranks: (strategies, seeds, n) int32, 1 = top, 0 = asked but not scored.
    """

    strategies: list[str]
    seeds: list[int]
    user: NDArray[np.int64]
    cold: NDArray[np.bool_]
    ranks: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.cold)

    def where(self, rows: NDArray[np.bool_]) -> "Aligned":
        """Keep some of the interactions.

        Args:
            rows: (n,) which ones.
        """
        return Aligned(
            self.strategies,
            self.seeds,
            self.user[rows],
            self.cold[rows],
            self.ranks[:, :, rows],
        )

    def mean_hits(self, k: int) -> Floats:
        """Recall@k of every interaction, averaged over the seeds.

        Returns:
            (strategies, n) values in [0, 1].
        """
        means: Floats = recall_at_k(self.ranks, k).mean(axis=1)
        return means


def align(predictions: Predictions, slices: Sequence[str]) -> Aligned:
    """Lay the blocks of all strategies and seeds side by side.

    Args:
        predictions: of the run.
        slices: which slices, one after another; a slice that nobody was asked about adds nothing.

    Raises:
        DataError: if a strategy and seed lacks a slice others have, or was asked about other interactions.
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
    """Take the blocks of a slice by strategy and seed, each sorted by position; none if nobody has one."""
    wanted = [(name, seed) for name in predictions.strategies for seed in predictions.seeds]
    found = {key: predictions.get(*key, slice_name) for key in wanted}
    if all(block is None for block in found.values()):
        return []
    blocks: list[Block] = []
    for (name, seed), block in found.items():
        if block is None:
            raise DataError(f"{name}, seed {seed}, has no predictions on slice {slice_name}, and others have")
        blocks.append(block.by_position())
        if not _same(blocks[0], blocks[-1]):
            raise DataError(
                f"{name}, seed {seed}, was asked about other interactions of slice {slice_name} than "
                f"{wanted[0][0]}, seed {wanted[0][1]}; an interaction that cannot be scored has rank 0"
            )
    return blocks


def _same(a: Block, b: Block) -> bool:
    pairs = ((a.event_id, b.event_id), (a.user_id, b.user_id), (a.cold, b.cold))
    return all(np.array_equal(left, right) for left, right in pairs)
