"""LoRA with learning without forgetting: distillation from the previous adapter."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pipeline.events.windows import Windows
from pipeline.models.backbones.base import last_states
from pipeline.models.training.distillation import loss_with
from pipeline.strategies.baselines.lora import Lora


@dataclass(frozen=True)
class _Before:
    """The model before an update interval; see `SoftTargets`.

    Attributes:
        states: (windows, d) last states.
        vectors: (items + 1, d) item vectors.
    """

    states: Tensor
    vectors: Tensor

    def among(self, windows: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `SoftTargets.among`: all items are known."""
        return torch.arange(len(rows), device=rows.device), self.states[windows] @ self.vectors[rows].T


class LoraLwf(Lora):
    """LoRA with item rows, distilled from the model before the update interval (Li and Hoiem, 2016).

    The loss is that of `loss_with`, on the new windows, over the rows of the softmax.

    Attributes:
        alpha: weight of the distillation.
        temperature: T.
    """

    name: ClassVar[str] = "lora_lwf"
    item_rows = True
    alpha: ClassVar[float] = 0.5
    temperature: ClassVar[float] = 2.0

    def _train(self, name: str, windows: Windows) -> None:
        states = last_states(self._host.states(windows.contexts, self._adapter)).clone()
        teacher = _Before(states, self._host.vectors(self._adapter).clone())
        self._fit(name, windows, self._seed, loss_of=loss_with(teacher, self.alpha, self.temperature))
