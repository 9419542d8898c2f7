"""Set-up: trains the backbone on the set-up slice, and derives regions, calibration and reference sample from it.

Training stops by the recall, not the loss, of held-out windows, and the backbone is frozen afterwards; spherical
k-means gives the set-up regions; held-out windows calibrate the gate and its detectors.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone, fingerprint, mean_states
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.catalogue import Catalogue
from pipeline.models.text_vectors import kept_texts
from pipeline.models.training.loop import Progress
from pipeline.regions.bank import RegionBank
from pipeline.regions.clustering import spherical_kmeans
from pipeline.regions.encoded import Encoded
from pipeline.regions.features import GateView
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.shape import shape_of
from pipeline.setup.artifacts import SetUp, SetupEvents
from pipeline.setup.calibration import calibrate
from pipeline.setup.teacher import Teacher
from pipeline.setup.training import OnBuilt, train_backbone

LEAST_WINDOWS = 32
"""Smallest number of set-up windows that a backbone is trained on."""


def set_up(
    config: Config,
    catalogue: Catalogue,
    windows: Windows,
    seed: int,
    on_batch: Progress | None = None,
    checkpoint: Path | None = None,
    on_built: OnBuilt | None = None,
    begin: Callable[[Backbone], None] | None = None,
    held_out: NDArray[np.bool_] | None = None,
    teacher: Teacher | None = None,
) -> SetUp:
    """Train a backbone and derive everything that replay and consumers start from.

    Args:
        config: sections `backbone`, `setup`, `softmax`, `windows`.
        catalogue: the items of set-up.
        windows: set-up windows available for training (S_new excluded).
        seed: seed of all random draws.
        on_batch: receives the progress of the training.
        checkpoint: folder from which an interrupted training goes on; see `train_backbone`.
        on_built: called before the first step; see `train_backbone`.
        begin: sets the weights that the training begins with; None: random ones, or those of the language model.
        held_out: (n,) True for windows that the backbone must not be trained on; None: drawn from `seed`.
        teacher: of the n windows, from which the backbone is distilled; None: it learns the targets alone.

    Raises:
        DataError: there are too few windows.
        RaieError: see `train_backbone`.
    """
    warm = windows[~windows.cold]
    if len(warm) < LEAST_WINDOWS:
        raise DataError(
            f"the set-up slice has {len(warm)} windows with a history, at least {LEAST_WINDOWS} are needed: "
            "use a longer log, or move data.finetune_from up"
        )
    held_out = validation_mask(len(warm), config, seed) if held_out is None else held_out[~windows.cold]
    # Counts exclude held-out windows, so that their items look as unfamiliar as new items of the stream.
    counts = np.bincount(warm.targets[~held_out], minlength=len(catalogue) + 1)
    catalogue = replace(catalogue, vectors=kept_texts(catalogue.vectors, config.ranking.exact_items))
    backbone = build_backbone(config.backbone, config.windows.length, catalogue, seed)
    if begin is not None:
        begin(backbone)
    unseen = np.zeros(len(windows), dtype=np.bool_)
    unseen[~windows.cold] = held_out
    taught = teacher and teacher.select(~windows.cold & ~unseen)
    recalls = train_backbone(
        *(backbone, config, warm[~held_out], warm[held_out], seed, on_batch, checkpoint, on_built, taught)
    )
    events = SetupEvents.of(windows, unseen, config.ranking.events)
    return _describe(backbone, catalogue, counts, config, warm, held_out, recalls, events, seed)


def validation_mask(windows: int, config: Config, seed: int) -> NDArray[np.bool_]:
    """(windows,) mask of the windows held out for early stopping: at least one of two or more, and never all."""
    mask = np.random.default_rng(seed).random(windows) < config.setup.validation_share
    mask[:2] = [True, False]
    return mask


def _describe(
    backbone: Backbone,
    catalogue: Catalogue,
    counts: NDArray[np.int64],
    config: Config,
    warm: Windows,
    held_out: NDArray[np.bool_],
    recalls: tuple[float, ...],
    events: SetupEvents,
    seed: int,
) -> SetUp:
    """Regions, calibration and reference sample of a trained backbone."""
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(~held_out))[: config.setup.reference_windows]
    regions, reference = _regions_of(backbone, warm[np.sort(chosen)], counts, config, seed)
    bank = RegionBank(regions, OriginModel.certain(reference.features.shape[1], len(regions)))
    learned = warm[~held_out]
    newest = learned[slice(max(len(learned) - config.trend.followed_events, 0), None)]
    return SetUp(
        backbone,
        fingerprint(backbone, catalogue.encoder),
        catalogue,
        counts,
        bank,
        calibrate(backbone, bank, GateView(counts, regions), warm, held_out, config),
        reference.features,
        bank.posterior(reference).setup_tops,
        recalls,
        (newest.contexts, newest.targets),
        events,
    )


@torch.inference_mode()
def _regions_of(
    backbone: Backbone, sample: Windows, counts: NDArray[np.int64], config: Config, seed: int
) -> tuple[tuple[Region, ...], Encoded]:
    """Set-up regions of a sample of windows, and the gate features of the sample."""
    contexts = backbone.windows(sample.contexts)
    states = backbone.hidden(contexts, backbone.items.all())
    regions = setup_regions(mean_states(states, contexts).cpu().double().numpy(), config, seed)
    return regions, GateView(counts, regions)(states, sample.contexts, sample.since_setup)


def setup_regions(means: Array, config: Config, seed: int) -> tuple[Region, ...]:
    """Spherical k-means over (n, d) unit vectors; regions are numbered from 1 by decreasing size."""
    labels = spherical_kmeans(means, config.setup.regions, seed)
    sizes = np.bincount(labels)
    regions = []
    for region_id, k in enumerate(np.argsort(-sizes, kind="stable"), start=1):
        if sizes[k] == 0:
            continue
        shape = shape_of(means[labels == k], config.setup.radius_quantile)
        prior = float(sizes[k] / len(means))
        regions.append(
            Region(
                region_id, 0, Status.LIVE, Origin.BASE, None, shape.centroid, shape.radius, shape.concentration, prior
            )
        )
    return tuple(regions)
