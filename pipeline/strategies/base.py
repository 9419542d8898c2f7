"""Interface of all strategies, RAIE and baselines."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.item import Item
from pipeline.events.labelled import LabelledContexts
from pipeline.events.windows import Ids, Windows
from pipeline.models.backbones.base import Backbone
from pipeline.models.catalogue import Catalogue
from pipeline.models.text import TextEncoder
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.common.trainings import Trainings
from pipeline.strategies.timeline import Timeline


@dataclass(frozen=True)
class Scored:
    """Ranks of n windows under a strategy.

    Attributes:
        ranks: (n,) rank of the target, 1 = top, 0 where it did not exist at that moment.
        regions: (n,) top region, or None for a strategy without regions.
        confidence: (n,) gate confidence, or None likewise.
    """

    ranks: NDArray[np.int64]
    regions: NDArray[np.int64] | None = None
    confidence: NDArray[np.float64] | None = None

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Parts, at least one, one after the other."""
        regions = [scored.regions for scored in parts if scored.regions is not None]
        confidence = [scored.confidence for scored in parts if scored.confidence is not None]
        return cls(
            np.concatenate([scored.ranks for scored in parts]),
            np.concatenate(regions) if regions else None,
            np.concatenate(confidence) if confidence else None,
        )


@dataclass(frozen=True)
class StrategyContext:
    """Inputs of a strategy.

    Attributes:
        setup: the same for all strategies, and never modified.
        config: the same for all strategies.
        learned: set-up windows available for replay.
        seed: of all random draws.
        folder: for the files of the strategy.
        timeline: which items exist at each event of the log.
        items: records of its items, by id.
        catalogue: every item of the timeline, in its rows; set-up's come first.
        encoder: of item texts; None for items by id alone.
        trainings: cache of trainings shared by strategies of the same set-up, or None.
        labelled: makes the windows that hold disliked items as well, or None where these are not known.
    """

    setup: SetUp
    config: Config
    learned: Windows
    seed: int
    folder: Path
    timeline: Timeline
    items: Mapping[str, Item]
    catalogue: Catalogue
    encoder: TextEncoder | None
    trainings: Trainings | None = None
    labelled: Callable[[], LabelledContexts] | None = None

    def grown_backbone(self) -> Backbone:
        """A copy of the backbone with a row for every item of the timeline."""
        return grown(copy.deepcopy(self.setup.backbone), self.catalogue)


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
        """Score windows, over the items that exist at their positions, and learn nothing."""

    def close(self) -> None:
        """Release all resources. The strategy is not used afterwards."""


def grown(backbone: Backbone, catalogue: Catalogue) -> Backbone:
    """The backbone with a row for every item of a catalogue that begins with its own items."""
    known = backbone.items.last
    backbone.items.resize(len(catalogue))
    for row, text in enumerate(catalogue.texts[known:], start=known + 1):
        backbone.set_item(row, text, torch.from_numpy(catalogue.vectors[row - 1]), keep_row=False)
    return backbone


def batches(windows: Windows, size: int, timeline: Timeline) -> Iterator[tuple[Windows, Existence]]:
    """Windows in batches of at most `size`, each with the existence of items."""
    for start in range(0, len(windows), size):
        batch = windows[slice(start, start + size)]
        yield batch, timeline.existence(batch.positions)


def rank_in_batches(
    windows: Windows, size: int, timeline: Timeline, probabilities: Callable[[Ids, Existence], torch.Tensor]
) -> Scored:
    """Rank targets under a model that is constant over all rows.

    Args:
        windows: to score.
        size: windows scored together.
        timeline: which items exist.
        probabilities: (n, length) contexts, and the existence of items, to (n, items + 1) probabilities.
    """
    ranks = [np.zeros(0, dtype=np.int64)]
    for batch, existence in batches(windows, size, timeline):
        scores = probabilities(batch.contexts, existence).cpu().numpy()
        ranks.append(ranks_of_existing(scores, batch.targets, batch.contexts, existence))
    return Scored(np.concatenate(ranks))
