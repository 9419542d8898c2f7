"""Calibration of the gate and the drift detectors on set-up windows that the backbone was not trained on."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.drift.subsampling import phases, stride
from pipeline.events.windows import Windows, places_in_sequence
from pipeline.models.backbones.base import Backbone
from pipeline.regions.bank import RegionBank
from pipeline.regions.encoded import Encoded
from pipeline.regions.features import GateView, negative_log_popularity


@dataclass(frozen=True)
class Calibration:
    """Reference values of the drift signals, from n held-out set-up windows.

    Attributes:
        regions: (n,) the top region of each.
        angles: (n,) angle in radians to its centroid.
        margins: (n,) top posterior minus second.
        losses: (n,) negative log probability of the target.
        rarities: (n,) negative log popularity of the target in set-up: -log(1 + count).
        contexts: (n, length) the windows themselves.
        targets: (n,) the items that followed them.
        moved_lane: (m,) phase of a pair of non-overlapping windows of a user; see `pipeline.drift.subsampling`.
        moved_from: (m,) set-up region of the first of the pair.
        moved: (m,) 1 if the second is in another region, else 0.
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
        """Contexts and targets of at most `most` windows, evenly spaced."""
        indices = np.linspace(0, len(self.targets) - 1, min(len(self.targets), most)).astype(np.int64)
        return self.contexts[indices], self.targets[indices]


def calibrate(
    backbone: Backbone, bank: RegionBank, view: GateView, warm: Windows, held_out: NDArray[np.bool_], config: Config
) -> Calibration:
    """Measure the reference values of the drift signals.

    Args:
        backbone: trained and frozen.
        bank: set-up regions.
        view: feature extraction of the gate.
        warm: (n,) set-up windows with a history.
        held_out: (n,) True for windows that the backbone was not trained on.
        config: the whole tree; `replay.score_batch` and the stride of the detectors are read.
    """
    judged = warm[held_out]
    posterior = bank.posterior(encode(backbone, judged, view))
    setup_tops = bank.posterior(encode(backbone, warm, view)).setup_tops
    return Calibration(
        posterior.tops,
        posterior.angles,
        posterior.margin,
        _losses(backbone, judged, config.replay.score_batch),
        negative_log_popularity(judged.targets, view.counts),
        judged.contexts,
        judged.targets,
        *_moves(warm, setup_tops, stride(config)),
    )


@torch.inference_mode()
def encode(backbone: Backbone, windows: Windows, view: GateView) -> Encoded:
    """Gate features of windows under the frozen backbone."""
    states = backbone.hidden(backbone.windows(windows.contexts), backbone.items.all())
    return view(states, windows.contexts, windows.since_setup)


def _moves(
    windows: Windows, setup_tops: NDArray[np.int64], stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Phase, first region and region change of each pair of a user's windows that are `stride` apart."""
    positions = places_in_sequence(windows.users)
    last: dict[tuple[int, str], int] = {}
    pairs: list[tuple[int, int, bool]] = []
    for phase, first in enumerate(phases(stride)):
        for i in np.flatnonzero(positions % stride == first):
            key = (phase, str(windows.users[i]))
            region, before = int(setup_tops[i]), last.get(key)
            if before is not None:
                pairs.append((phase, before, region != before))
            last[key] = region
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2].astype(np.float64)


@torch.inference_mode()
def _losses(backbone: Backbone, windows: Windows, batch_size: int) -> Array:
    """(n,) negative log probability of each target under the backbone."""
    vectors = backbone.items.all()
    losses = []
    for start in range(0, len(windows), batch_size):
        batch = windows[slice(start, start + batch_size)]
        logits = backbone.last(backbone.windows(batch.contexts), vectors) @ vectors.T
        logits[:, 0] = -torch.inf
        log_probabilities = logits.log_softmax(dim=1)
        own = log_probabilities.gather(1, backbone.windows(batch.targets)[:, None])
        losses.append(-own[:, 0].cpu().numpy())
    return np.concatenate(losses).astype(np.float64)
