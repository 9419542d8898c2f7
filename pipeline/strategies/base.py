"""What every strategy answers: RAIE and each baseline alike."""

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
    """What a strategy said of n windows.

    Attributes:
        ranks: (n,) rank of the target, 1 = top.
        regions: (n,) region that answered, or None where the strategy has no regions.
        confidence: (n,) gate confidence, or None likewise.
    """

    ranks: NDArray[np.int64]
    regions: NDArray[np.int64] | None = None
    confidence: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class StrategyContext:
    """What every strategy starts from.

    Attributes:
        setup: the same for all; nobody changes it.
        config: the same for all.
        learned: set-up windows that may be replayed.
        seed: of everything random.
        folder: for what a strategy keeps on disk.
        trainings: what other strategies trained from the same set-up; None: nothing is shared.
    """

    setup: SetUp
    config: Config
    learned: Windows
    seed: int
    folder: Path
    trainings: Trainings | None = None


class Strategy(Protocol):
    """One way to keep up with a stream.

    Attributes:
        name: as in tables.
    """

    name: ClassVar[str]

    def __init__(self, context: StrategyContext) -> None: ...

    @property
    def trained_windows(self) -> int:
        """Windows trained on since set-up, counting passes."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of weights, counts and memory that it answers with, the backbone of set-up not counted."""

    def observe(self, windows: Windows) -> Scored:
        """Score the next windows of the stream, in event order, then take them in.

        Row i may use what rows before it brought, never its own target or a later one.
        """

    def learn(self) -> None:
        """The end of a part of the stream: learn from what was observed since the last one."""

    def score(self, windows: Windows) -> Scored:
        """Score windows without taking anything in."""

    def close(self) -> None:
        """Let go of everything held. Nothing more may be asked of it."""


def rank_in_batches(windows: Windows, size: int, answer: Callable[[NDArray[np.int64]], torch.Tensor]) -> Scored:
    """Rank targets under a model that does not change between rows.

    Args:
        windows: to score.
        size: windows answered together.
        answer: (n, length) contexts to (n, items + 1) probabilities.
    """
    ranks = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(windows), size):
        batch = windows[slice(start, start + size)]
        ranks.append(rank_of_targets(answer(batch.contexts).numpy(), batch.targets, batch.contexts))
    return Scored(np.concatenate(ranks))
