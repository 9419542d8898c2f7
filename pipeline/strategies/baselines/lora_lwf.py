"""LoRA with learning without forgetting: distillation from the previous adapter."""

from typing import ClassVar

import torch
from torch.nn import functional

from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone, last_states
from pipeline.models.training.loss import Batch, next_item_logits
from pipeline.strategies.baselines.lora import Lora


class LoraLwf(Lora):
    """LoRA with item rows, distilled from the model before the update interval (Li and Hoiem, 2016).

        loss = (1 - alpha) CE(target) + alpha T^2 KL(softmax(teacher / T) || softmax(student / T))

    on the new windows, over the rows of the softmax.

    Attributes:
        alpha: weight of the distillation.
        temperature: T.
    """

    name: ClassVar[str] = "lora_lwf"
    item_rows = True
    alpha: ClassVar[float] = 0.5
    temperature: ClassVar[float] = 2.0

    def _train(self, name: str, windows: Windows) -> None:
        # The teacher's logits are the products of its last states and item vectors.
        states = last_states(self._host.states(windows.contexts, self._adapter)).clone()
        vectors = self._host.vectors(self._adapter).clone()

        def loss_of(model: Backbone, batch: Batch) -> torch.Tensor:
            logits, columns = next_item_logits(model, batch.contexts, batch.targets, batch.rows, batch.log_weights)
            teacher = states[batch.indices] @ vectors[batch.rows].T
            distillation = functional.kl_div(
                functional.log_softmax(logits / self.temperature, dim=1),
                functional.log_softmax(teacher / self.temperature, dim=1),
                reduction="batchmean",
                log_target=True,
            )
            learned = functional.cross_entropy(logits, columns)
            return (1.0 - self.alpha) * learned + self.alpha * self.temperature**2 * distillation

        self._fit(name, windows, self._seed, loss_of=loss_of)
