"""Distillation: a model in training is drawn towards the probabilities of another one, its teacher.

    loss = (1 - weight) CE(target) + weight T^2 KL(softmax(teacher / T) || softmax(student / T))

after Hinton et al. (2015) and Li and Hoiem (2016), over the items that both know.
"""

from typing import Protocol

from torch import Tensor
from torch.nn import functional

from pipeline.models.backbones.base import Backbone
from pipeline.models.training.loss import Batch, Loss, corrected, next_item_logits


class SoftTargets(Protocol):
    """Probabilities of a teacher for the windows of a training."""

    def among(self, windows: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of the next item.

        Args:
            windows: (n,) their positions among the windows of the training.
            rows: (c,) catalogue rows.

        Returns:
            (k,) positions among `rows` of the items that the teacher knows, and their (n, k) log probabilities, those
            of each window up to a constant.
        """
        ...


def loss_with(teacher: SoftTargets, weight: float, temperature: float) -> Loss:
    """Loss with a teacher.

    Sampled negatives are the same for both models: over any part of the catalogue the divergence is least where the
    student agrees with the teacher, so they need no importance correction there.

    Args:
        teacher: of the windows of the training.
        weight: of the distillation beside the targets, from 0 to 1.
        temperature: T.
    """

    def loss_of(model: Backbone, batch: Batch) -> Tensor:
        logits, columns = next_item_logits(model, batch.contexts, batch.targets, batch.rows)
        learned = functional.cross_entropy(corrected(logits, columns, batch.log_weights), columns)
        known, wanted = teacher.among(batch.indices, batch.rows)
        divergence = functional.kl_div(
            functional.log_softmax(logits[:, known] / temperature, dim=1),
            functional.log_softmax(wanted / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        return (1.0 - weight) * learned + weight * temperature**2 * divergence

    return loss_of
