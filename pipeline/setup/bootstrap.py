"""Set-up: trains the backbone on the set-up slice, and derives regions, calibration and reference sample from it.

Training stops by the recall, not the loss, of held-out windows, and the backbone is frozen afterwards; spherical
k-means gives the set-up regions; held-out windows calibrate the gate and its detectors.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.events.windows import PADDING, Windows
from pipeline.metrics.ranking import LIST_LENGTH, rank_of_targets
from pipeline.models.backbones.base import Backbone, fingerprint, mean_states
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.catalogue import Catalogue
from pipeline.models.placement import Placement
from pipeline.models.training.loop import Progress, fit, known_rows
from pipeline.models.training.loss import softmax_rows
from pipeline.regions.bank import RegionBank
from pipeline.regions.clustering import spherical_kmeans
from pipeline.regions.features import Encoded, GateView
from pipeline.regions.origin_classifier import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.shape import shape_of
from pipeline.setup.artifacts import SetUp, SetupEvents
from pipeline.setup.calibration import calibrate

LEAST_WINDOWS = 32
"""Smallest number of set-up windows that a backbone is trained on."""


def set_up(
    config: Config, catalogue: Catalogue, windows: Windows, seed: int, on_batch: Progress | None = None
) -> SetUp:
    """Train a backbone and derive everything that replay and consumers start from.

    Args:
        config: sections `backbone`, `setup`, `softmax`, `windows`.
        catalogue: the items of set-up.
        windows: set-up windows available for training (S_new excluded).
        seed: seed of all random draws.
        on_batch: receives the progress of the training.

    Raises:
        DataError: there are too few windows.
    """
    warm = windows[~windows.cold]
    if len(warm) < LEAST_WINDOWS:
        raise DataError(
            f"the set-up slice has {len(warm)} windows with a history, at least {LEAST_WINDOWS} are needed: "
            "use a longer log, or move data.finetune_from up"
        )
    held_out = validation_mask(len(warm), config, seed)
    # Counts exclude held-out windows, so that their items look as unfamiliar as new items of the stream.
    counts = np.bincount(warm.targets[~held_out], minlength=len(catalogue) + 1)
    backbone, recalls = trained_backbone(config, catalogue, warm[~held_out], warm[held_out], seed, on_batch)
    unseen = np.zeros(len(windows), dtype=np.bool_)
    unseen[~windows.cold] = held_out
    events = SetupEvents.of(windows, unseen, config.ranking.events)
    return _describe(backbone, catalogue, counts, config, warm, held_out, recalls, events, seed)


def validation_mask(windows: int, config: Config, seed: int) -> NDArray[np.bool_]:
    """(windows,) mask of the windows held out for early stopping: at least one of two or more, and never all."""
    mask = np.random.default_rng(seed).random(windows) < config.setup.validation_share
    mask[:2] = [True, False]
    return mask


class _EarlyStopping:
    """Held-out recall after each epoch, and the weights of the best epoch.

    Attributes:
        recalls: held-out Recall@10 of each epoch so far.
        best: weights of the epoch of highest recall.
    """

    def __init__(self, backbone: Backbone, config: Config, known: NDArray[np.int64], held_out: Windows) -> None:
        self.recalls: list[float] = []
        self.best = self._weights_of(backbone)
        self._backbone = backbone
        self._held_out = held_out
        self._batch_size, self._patience = config.replay.score_batch, config.setup.patience
        self._repeats = config.windows.repeats
        self._unknown = backbone.windows(np.setdiff1d(np.arange(len(backbone.items.text)), known))
        initial = backbone.items.rows.weight.detach()[self._unknown].clone()
        self._initial = initial if backbone.informed_rows else torch.zeros_like(initial)

    def __call__(self, _: int) -> bool:
        """Measure an epoch; False ends the training."""
        with torch.no_grad():
            self._backbone.items.rows.weight[self._unknown] = self._initial
        recall = _recall(self._backbone, self._held_out, self._batch_size, self._repeats)
        if recall > max(self.recalls, default=-1.0):
            self.best = self._weights_of(self._backbone)
        self.recalls.append(recall)
        return len(self.recalls) - 1 - self.recalls.index(max(self.recalls)) < self._patience

    @staticmethod
    def _weights_of(backbone: Backbone) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in backbone.state_dict().items()}


def trained_backbone(
    config: Config,
    catalogue: Catalogue,
    learned: Windows,
    held_out: Windows,
    seed: int,
    on_batch: Progress | None = None,
) -> tuple[Backbone, tuple[float, ...]]:
    """Train a backbone until the held-out recall stops rising.

    Weights that are trained are float32; they are rounded to the precision of the settings afterwards.

    Args:
        config: sections `compute`, `backbone`, `setup`, `softmax`, `windows`.
        catalogue: its items.
        learned: training windows, all with a history.
        held_out: windows for early stopping.
        seed: seed of all random draws.
        on_batch: receives the progress.

    Returns:
        The backbone with the best epoch's weights, frozen, and the held-out Recall@10 after each epoch.

    Raises:
        BackboneError: the language model cannot be loaded.
        ConfigError: there is no device as configured.
    """
    placement = Placement.of_new(config.compute, config.backbone.kind)
    backbone = build_backbone(config.backbone, config.windows.length, catalogue, seed)
    backbone.place(replace(placement, precision=torch.float32))
    rows = known_rows(learned.contexts, learned.targets)
    stopping = _EarlyStopping(backbone, config, rows, held_out)
    fit(
        backbone,
        learned,
        [{"params": list(backbone.parameters()), "lr": config.setup.learning_rate}],
        softmax_rows(rows, config.softmax),
        epochs=config.setup.max_epochs,
        batch_size=config.setup.batch_size,
        seed=seed,
        on_batch=on_batch,
        after_epoch=stopping,
    )
    backbone.load_state_dict(stopping.best)
    backbone.place(placement).train(False).requires_grad_(False)
    return backbone, tuple(stopping.recalls)


@torch.inference_mode()
def _recall(backbone: Backbone, windows: Windows, batch_size: int, repeats: bool) -> float:
    """Recall@10 of the backbone on windows, whose liked items are rivals of the target with repeats alone."""
    vectors = backbone.items.all()
    hits = 0
    for start in range(0, len(windows), batch_size):
        batch = windows[slice(start, start + batch_size)]
        scores = backbone.last(backbone.windows(batch.contexts), vectors) @ vectors.T
        scores[:, 0] = -torch.inf
        held = batch.contexts[:, :0] if repeats else batch.contexts.clip(min=PADDING)
        hits += int((rank_of_targets(scores.cpu().numpy(), batch.targets, held) <= LIST_LENGTH).sum())
    return hits / len(windows)


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
