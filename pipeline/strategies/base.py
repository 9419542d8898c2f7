"""Interface of all strategies, RAIE and baselines."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.events.windows import Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.common.trainings import Trainings


@dataclass(frozen=True)
class Scored:
    """Ranks of n windows under a strategy.

    Attributes:
        ranks: (n,) rank of the target, 1 = top.
        regions: (n,) top region, or None for a strategy without regions.
        confidence: (n,) gate confidence, or None likewise.
    """

    ranks: NDArray[np.int64]
    regions: NDArray[np.int64] | None = None
    confidence: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class StrategyContext:
    """Inputs of a strategy.

    Attributes:
        setup: the same for all strategies, and never modified.
        config: the same for all strategies.
        learned: set-up windows available for replay.
        seed: of all random draws.
        folder: for the files of the strategy.
        trainings: cache of trainings shared by strategies of the same set-up, or None.
    """

    setup: SetUp
    config: Config
    learned: Windows
    seed: int
    folder: Path
    trainings: Trainings | None = None


class Strategy(Protocol):
    """Method of adapting to a stream.

    Attributes:
        name: in the configuration, tables and files.
    """

    name: ClassVar[str]

    def __init__(self, context: StrategyContext) -> None: ...

    @property
    def trained_windows(self) -> int:
        """Windows trained on since set-up, each pass counted."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights, counts and memory used for scoring, without the backbone of set-up."""

    def observe(self, windows: Windows) -> Scored:
        """Score the next windows of the stream, in event order, then add them to the pending ones.

        Row i may use the targets of earlier rows, never its own or a later one.
        """

    def learn(self) -> None:
        """End an update interval: learn from the windows observed since the last one."""

    def score(self, windows: Windows) -> Scored:
        """Score windows without a change of state."""

    def close(self) -> None:
        """Release all resources. The strategy is not used afterwards."""


def rank_in_batches(windows: Windows, size: int, probabilities: Callable[[NDArray[np.int64]], torch.Tensor]) -> Scored:
    """Rank targets under a model that is constant over all rows.

    Args:
        windows: to score.
        size: windows scored together.
        probabilities: (n, length) contexts to (n, items + 1) probabilities.
    """
    ranks = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(windows), size):
        batch = windows[slice(start, start + size)]
        ranks.append(rank_of_targets(probabilities(batch.contexts).numpy(), batch.targets, batch.contexts))
    return Scored(np.concatenate(ranks))
