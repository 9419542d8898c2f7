"""Set-up: everything that is made once, from the set-up slice, and then stays as it is.

The backbone is trained (stopping on the recall, not the loss, of held-out windows) and frozen; spherical
k-means gives the set-up regions; held-out windows calibrate the gate and its detectors.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.drift.subsampling import stride
from pipeline.errors import DataError
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.models.backbones.base import Backbone, fingerprint, mean_states
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.catalogue import Catalogue
from pipeline.models.training.loop import Progress, fit, known_rows
from pipeline.models.training.loss import Candidates
from pipeline.regions.bank import RegionBank
from pipeline.regions.clustering import spherical_kmeans
from pipeline.regions.features import Encoded, GateView, negative_log_popularity
from pipeline.regions.origin_classifier import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.shape import shape_of
from pipeline.setup.artifacts import SetUp
from pipeline.setup.calibration import Calibration, _losses, _moves

LEAST_WINDOWS = 32
"""Fewer set-up windows than this teach nothing."""


def set_up(
    config: Config, catalogue: Catalogue, windows: Windows, seed: int, on_batch: Progress | None = None
) -> SetUp:
    """Make what replay and consumers start from.

    Args:
        config: sections `backbone`, `setup`, `softmax`, `windows`.
        catalogue: every item of the log.
        windows: set-up windows that may be learned from (held-out ones already left out).
        seed: of everything random.
        on_batch: told of the training's progress.

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
    # Held-out windows must look to the gate as the stream will: what only they met is not known.
    counts = np.bincount(warm.targets[~held_out], minlength=len(catalogue) + 1)
    backbone = build_backbone(config.backbone, config.windows.length, catalogue, seed)
    recalls = train_backbone(backbone, config, warm[~held_out], warm[held_out], seed, on_batch)
    return _describe(backbone, catalogue, counts, config, warm, held_out, recalls, seed)


def validation_mask(windows: int, config: Config, seed: int) -> NDArray[np.bool_]:
    """(windows,) which of them, at least two, are held out to stop training by: at least one, and never all."""
    mask = np.random.default_rng(seed).random(windows) < config.setup.validation_share
    mask[:2] = [True, False]
    return mask


def train_backbone(
    backbone: Backbone,
    config: Config,
    learned: Windows,
    held_out: Windows,
    seed: int,
    on_batch: Progress | None = None,
) -> tuple[float, ...]:
    """Train until the held-out recall stops rising; leave the best epoch's weights, frozen.

    Args:
        backbone: with random weights, or those of a language model.
        config: sections `backbone`, `setup`, `softmax`.
        learned: windows to learn, all with a history.
        held_out: windows to stop by.
        seed: of everything random.
        on_batch: told of the progress.

    Returns:
        Held-out Recall@10 after each epoch.
    """
    rows = known_rows(learned.contexts, learned.targets)
    unknown = torch.from_numpy(np.setdiff1d(np.arange(len(backbone.items.text)), rows))
    initial = backbone.items.rows.weight.detach()[unknown].clone()
    # Nobody has met these items: their text alone speaks for them. (A language model knows their tokens.)
    if config.backbone.kind != "causal_lm":
        initial = torch.zeros_like(initial)
    recalls: list[float] = []
    best = {name: value.clone() for name, value in backbone.state_dict().items()}

    def judge(_: int) -> bool:
        with torch.no_grad():
            backbone.items.rows.weight[unknown] = initial
        recalls.append(_recall(backbone, held_out, config.replay.score_batch))
        if recalls[-1] == max(recalls) and recalls.index(recalls[-1]) == len(recalls) - 1:
            best.update({name: value.clone() for name, value in backbone.state_dict().items()})
        return len(recalls) - 1 - recalls.index(max(recalls)) < config.setup.patience

    fit(
        backbone,
        learned,
        [{"params": list(backbone.parameters()), "lr": config.setup.learning_rate}],
        softmax_rows(config, rows),
        epochs=config.setup.max_epochs,
        batch_size=config.setup.batch_size,
        seed=seed,
        on_batch=on_batch,
        after_epoch=judge,
    )
    backbone.load_state_dict(best)
    backbone.train(False).requires_grad_(False)
    return tuple(recalls)


def softmax_rows(config: Config, rows: NDArray[np.int64]) -> Candidates:
    """The rows of a softmax: all of them, or a sample where there are many."""
    sampled = None if len(rows) <= config.softmax.full_up_to else config.softmax.negatives
    return Candidates(torch.from_numpy(rows), sampled)


@torch.inference_mode()
def _recall(backbone: Backbone, windows: Windows, batch_size: int) -> float:
    vectors = backbone.items.all()
    hits = 0
    for start in range(0, len(windows), batch_size):
        batch = windows[slice(start, start + batch_size)]
        scores = backbone.last(torch.from_numpy(batch.contexts), vectors) @ vectors.T
        scores[:, 0] = -torch.inf
        hits += int((rank_of_targets(scores.numpy(), batch.targets, batch.contexts) <= 10).sum())
    return hits / len(windows)


def _describe(
    backbone: Backbone,
    catalogue: Catalogue,
    counts: NDArray[np.int64],
    config: Config,
    warm: Windows,
    held_out: NDArray[np.bool_],
    recalls: tuple[float, ...],
    seed: int,
) -> SetUp:
    """Regions, calibration and reference sample of a trained backbone."""
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(~held_out))[: config.setup.reference_windows]
    sample = warm[np.sort(chosen)]
    states = _states(backbone, sample.contexts)
    regions = setup_regions(mean_states(states, torch.from_numpy(sample.contexts)).double().numpy(), config, seed)
    view = GateView(counts, regions)
    learned = warm[~held_out]
    newest = learned[slice(max(len(learned) - config.trend.followed_events, 0), None)]
    reference = view(states, sample.contexts, sample.since_setup)
    bank = RegionBank(regions, OriginModel.certain(reference.features.shape[1], len(regions)))
    judged = warm[held_out]
    posterior = bank.posterior(_encode(backbone, judged, view))
    setup_tops = bank.posterior(_encode(backbone, warm, view)).setup_tops
    moved_lane, moved_from, moved = _moves(warm, setup_tops, stride(config))
    calibration = Calibration(
        posterior.tops,
        posterior.angles,
        posterior.margin,
        _losses(backbone, judged, config.replay.score_batch),
        negative_log_popularity(judged.targets, counts),
        judged.contexts,
        judged.targets,
        moved_lane,
        moved_from,
        moved,
    )
    return SetUp(
        backbone,
        fingerprint(backbone),
        catalogue,
        counts,
        bank,
        calibration,
        reference.features,
        bank.posterior(reference).setup_tops,
        recalls,
        (newest.contexts, newest.targets),
    )


def setup_regions(means: Array, config: Config, seed: int) -> tuple[Region, ...]:
    """Spherical k-means over (n, d) unit vectors; regions are numbered from 1 by falling size."""
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


@torch.inference_mode()
def _states(backbone: Backbone, contexts: Ids) -> torch.Tensor:
    return backbone.hidden(torch.from_numpy(contexts), backbone.items.all())


def _encode(backbone: Backbone, windows: Windows, view: GateView) -> Encoded:
    return view(_states(backbone, windows.contexts), windows.contexts, windows.since_setup)
