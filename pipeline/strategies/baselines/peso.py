"""PESO: a single adapter that is tied to its own last state by a proximal term."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone
from pipeline.models.training.loss import Batch, cross_entropy_of
from pipeline.strategies.baselines.lora import LoraRows


class Peso(LoraRows):
    """Proximally regularised single evolving LoRA (Yoo et al., 2026), with item rows.

        loss = CE(target) + weight mean over layers of [KL(s(A) || s(A')) + KL(s(B) || s(B'))]

    A and B are the factors of a layer, A' and B' what they were before the update interval, and s is the softmax over
    all entries of a matrix. Weight, softmax and the direction of KL are those of the authors' release. In the first
    interval, where they have an adapter trained on their base data, the factors are tied to those of an adapter without
    effect. Item rows are not tied, as token embeddings are not there. The optimiser is that of the other baselines; the
    authors divide the learning rate by ten after their base data.

    Attributes:
        weight: of the proximal term.
    """

    name: ClassVar[str] = "peso"
    weight: ClassVar[float] = 2.0

    def _train(self, name: str, windows: Windows) -> None:
        layers = self._host.factors(name).values()
        before = [[log_shares(factor).detach() for factor in pair] for pair in layers]

        def loss_of(model: Backbone, batch: Batch) -> Tensor:
            moved = [
                functional.kl_div(last, log_shares(factor), reduction="sum", log_target=True)
                for pair, anchors in zip(layers, before, strict=True)
                for factor, last in zip(pair, anchors, strict=True)
            ]
            return cross_entropy_of(model, batch) + self.weight * torch.stack(moved).sum() / len(layers)

        self._fit(name, windows, self._seed, loss_of=loss_of)


def log_shares(matrix: Tensor) -> Tensor:
    """Logarithm of the softmax over all entries of a matrix, as one row."""
    return functional.log_softmax(matrix.flatten(), dim=0)
