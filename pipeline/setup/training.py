"""Training of the backbone in set-up: all weights or LoRA, early stopping, checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.events.windows import Windows, taken_rows
from pipeline.metrics.ranking import LIST_LENGTH, rank_of_targets
from pipeline.models.backbones.base import Backbone
from pipeline.models.lora.peft_slot import add_factors, merge_factors
from pipeline.models.placement import NONE, ON_CPU, Placement
from pipeline.models.training.distillation import loss_with
from pipeline.models.training.loop import Progress as OnBatch
from pipeline.models.training.loop import fit, known_rows
from pipeline.models.training.loss import Loss, cross_entropy_of, softmax_rows
from pipeline.setup.checkpoint import Progress, TrainingCheckpoint, identity_of
from pipeline.setup.freed_blocks import return_freed_blocks
from pipeline.setup.teacher import TEMPERATURE, WEIGHT, Teacher

OnBuilt = Callable[[Backbone, Placement, int], None]
"""Called with the backbone before it is trained, where that will happen, and the bytes that the answers of a teacher
take, 0 without one; may refuse."""


def train_backbone(
    backbone: Backbone,
    config: Config,
    learned: Windows,
    held_out: Windows,
    seed: int,
    on_batch: OnBatch | None = None,
    checkpoint: Path | None = None,
    on_built: OnBuilt | None = None,
    teacher: Teacher | None = None,
) -> tuple[float, ...]:
    """Train until the held-out recall stops rising; leave the best epoch's weights, frozen, in their place.

    Weights that are trained are float32; they are rounded to the precision of the settings afterwards. Under
    `setup.train: lora` the weights that stay are rounded before. They are quantised afterwards either way.

    Args:
        backbone: on the CPU, with random weights or those of a language model.
        config: sections `compute`, `backbone`, `setup`, `softmax`, `windows`.
        learned: training windows, all with a history.
        held_out: windows for early stopping.
        seed: seed of all random draws.
        on_batch: receives the progress.
        checkpoint: folder in which the training is saved after each epoch, and from which it goes on.
        on_built: called before the first step.
        teacher: of the training windows, from which the backbone is distilled; None: it learns the targets alone.

    Returns:
        Held-out Recall@10 after each epoch.

    Raises:
        ConfigError: there is no device as configured, or the training does not fit it.
        BackboneError: the backbone cannot be quantised.
        DataError: the checkpoint is of another training.
    """
    placement, setup = Placement.of_new(config.compute, config.backbone.kind), config.setup
    identity = identity_of(config, placement, backbone, [learned, held_out], seed, teacher) if checkpoint else ""
    if placement.quantization != NONE:
        backbone.quantizable()
    if on_built:
        on_built(backbone, placement, teacher.memory_bytes if teacher else 0)
    by_lora, in_full = setup.train == "lora", replace(placement, quantization=NONE)
    # Factors cannot be merged into quantised weights.
    backbone.place(in_full if by_lora else replace(in_full, precision=torch.float32))
    if by_lora and in_full == ON_CPU:
        # In bfloat16 half of all weights is not exceeded anyway, and returned blocks cost time.
        return_freed_blocks()
    factors = add_factors(backbone, setup.lora_rank, setup.lora_alpha, seed) if by_lora else None
    if setup.gradient_checkpointing:
        backbone.keep_activations(False)
    loss_of: Loss = cross_entropy_of
    if teacher is not None:
        loss_of = loss_with(teacher.answer(learned, backbone.device), WEIGHT, TEMPERATURE)
    recalls = _train(backbone, config, learned, held_out, seed, on_batch, checkpoint, identity, loss_of)
    if setup.gradient_checkpointing:
        backbone.keep_activations(True)
    if factors is not None:
        merge_factors(factors)
    backbone.place(placement).train(False).requires_grad_(False)
    return recalls


def _train(
    backbone: Backbone,
    config: Config,
    learned: Windows,
    held_out: Windows,
    seed: int,
    on_batch: OnBatch | None,
    checkpoint: Path | None,
    identity: str,
    loss_of: Loss,
) -> tuple[float, ...]:
    """Train the parameters that require gradients; leave those of the best epoch. See `train_backbone`."""
    rows = known_rows(learned.contexts, learned.targets)
    trained = {name: parameter for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    stopping = _EarlyStopping(backbone, config, rows, held_out)
    fit(
        backbone,
        learned,
        [{"params": list(trained.values()), "lr": config.setup.learning_rate}],
        softmax_rows(rows, config.softmax),
        epochs=config.setup.max_epochs,
        batch_size=config.setup.batch_size,
        seed=seed,
        on_batch=on_batch,
        after_epoch=stopping,
        loss_of=loss_of,
        accumulation=config.setup.accumulation,
        checkpoints=TrainingCheckpoint(checkpoint, identity, trained, stopping.progress) if checkpoint else None,
    )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(stopping.progress.best[name])
            parameter.grad = None
    return tuple(stopping.progress.recalls)


class _EarlyStopping:
    """Held-out recall after each epoch, and the trained weights of the best epoch.

    Attributes:
        progress: recalls and best weights so far.
    """

    def __init__(self, backbone: Backbone, config: Config, known: NDArray[np.int64], held_out: Windows) -> None:
        self.progress = Progress()
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
        recall, recalls = (
            _recall(self._backbone, self._held_out, self._batch_size, self._repeats),
            self.progress.recalls,
        )
        if recall > max(recalls, default=-1.0):
            trained = ((name, p) for name, p in self._backbone.named_parameters() if p.requires_grad)
            self.progress.best = {name: parameter.detach().clone() for name, parameter in trained}
        recalls.append(recall)
        return len(recalls) - 1 - recalls.index(max(recalls)) < self._patience


@torch.inference_mode()
def _recall(backbone: Backbone, windows: Windows, batch_size: int, repeats: bool) -> float:
    """Recall@10 of the backbone on windows, whose liked items are rivals of the target with repeats alone."""
    vectors = backbone.items.all()
    hits = 0
    for start in range(0, len(windows), batch_size):
        batch = windows[slice(start, start + batch_size)]
        scores = backbone.last(backbone.windows(batch.contexts), vectors) @ vectors.T
        scores[:, 0] = -torch.inf
        held = batch.contexts[:, :0] if repeats else taken_rows(batch.contexts)
        hits += int((rank_of_targets(scores.cpu().numpy(), batch.targets, held) <= LIST_LENGTH).sum())
    return hits / len(windows)
