"""LoRA with learning without forgetting: the adapter must keep saying what it said before."""

from typing import ClassVar

import torch
from torch.nn import functional

from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone, last_states
from pipeline.models.training.loss import Batch, next_item_logits
from pipeline.strategies.baselines.lora import Lora


class LoraLwf(Lora):
    """LoRA and item rows without replay, distilled from the model as it was before the part (Li and Hoiem, 2016).

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
        # The teacher's last states and item vectors say all that it says: its logits are their products.
        states = last_states(self._host.states(windows.contexts, self._adapter)).clone()
        vectors = self._host.vectors(self._adapter).clone()

        def loss_of(model: Backbone, batch: Batch) -> torch.Tensor:
            logits, places = next_item_logits(model, batch.contexts, batch.targets, batch.rows, batch.log_weights)
            taught = states[batch.indices] @ vectors[batch.rows].T
            forgotten = functional.kl_div(
                functional.log_softmax(logits / self.temperature, dim=1),
                functional.log_softmax(taught / self.temperature, dim=1),
                reduction="batchmean",
                log_target=True,
            )
            learned = functional.cross_entropy(logits, places)
            return (1.0 - self.alpha) * learned + self.alpha * self.temperature**2 * forgotten

        self._fit(name, windows, self._seed, loss_of=loss_of)
