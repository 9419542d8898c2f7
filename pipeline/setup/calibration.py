"""TODO docstring."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.drift.subsampling import phases
from pipeline.events.windows import Windows, places_in_sequence
from pipeline.models.backbones.base import Backbone


@dataclass(frozen=True)
class Calibration:
    """What the gate said of set-up windows that the backbone was not trained on.

    Attributes:
        regions: (n,) the top region of each.
        angles: (n,) angle in radians to its centroid.
        margins: (n,) top posterior minus second.
        losses: (n,) negative log probability of the target.
        rarities: (n,) how little set-up knew the target: minus the log of one plus its count.
        contexts: (n, length) the windows themselves.
        targets: (n,) what followed them.
        moved_lane: (m,) lane of a pair of a user's windows that do not overlap; see `pipeline.drift.subsampling`.
        moved_from: (m,) region of the first of them.
        moved: (m,) 1 where the second was in another region, else 0.
    """

    regions: NDArray[np.int64]
    angles: Array
    margins: Array
    losses: Array
    rarities: Array
    contexts: NDArray[np.int64]
    targets: NDArray[np.int64]
    moved_lane: NDArray[np.int64]
    moved_from: NDArray[np.int64]
    moved: Array

    def sample(self, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """At most so many of the windows, evenly spread: contexts and targets."""
        some = np.linspace(0, len(self.targets) - 1, min(len(self.targets), most)).astype(np.int64)
        return self.contexts[some], self.targets[some]


def _moves(
    windows: Windows, setup_tops: NDArray[np.int64], stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Lane of each pair of a user's windows so far apart, where the first was, and whether the second was elsewhere."""
    places = places_in_sequence(windows.users)
    last: dict[tuple[int, str], int] = {}
    pairs: list[tuple[int, int, bool]] = []
    for phase, first in enumerate(phases(stride)):
        for i in np.flatnonzero(places % stride == first):
            here, before = int(setup_tops[i]), last.get((phase, str(windows.users[i])))
            if before is not None:
                pairs.append((phase, before, here != before))
            last[phase, str(windows.users[i])] = here
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2].astype(np.float64)


@torch.inference_mode()
def _losses(backbone: Backbone, windows: Windows, batch_size: int) -> Array:
    vectors = backbone.items.all()
    losses = []
    for start in range(0, len(windows), batch_size):
        batch = windows[slice(start, start + batch_size)]
        logits = backbone.last(torch.from_numpy(batch.contexts), vectors) @ vectors.T
        logits[:, 0] = -torch.inf
        log_probabilities = logits.log_softmax(dim=1)
        losses.append(-log_probabilities[torch.arange(len(batch)), torch.from_numpy(batch.targets)].numpy())
    return np.concatenate(losses).astype(np.float64)
