"""LoRA over the frozen weights of a language model in set-up, merged into them afterwards (Hu et al., 2021)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.backbones.base import Backbone
from pipeline.models.lora.factors import widths
from pipeline.models.seeding import seeded


class LowRankLinear(nn.Module):
    """A frozen linear layer with input x, plus x A' B' s.

    Args:
        base: the layer.
        rank: of the factors.
        scale: s.
    """

    def __init__(self, base: nn.Module, rank: int, scale: float) -> None:
        super().__init__()
        width_in, width_out = widths(base)
        self.base, self._scale = base, scale
        # Random numbers of the CPU: the same on every device.
        self.a, self.b = nn.Parameter(torch.empty(rank, width_in)), nn.Parameter(torch.zeros(width_out, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, states: Tensor) -> Tensor:
        """(..., in) to (..., out); the product is computed in float32, whatever the precision of the layer."""
        out: Tensor = self.base(states)
        change = functional.linear(functional.linear(states.to(self.a.dtype), self.a), self.b) * self._scale
        return out + change.to(out.dtype)

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """The layer with the product added to its weights, rounded once to their precision."""
        weight = self.base.weight
        assert isinstance(weight, nn.Parameter)
        change = (self.b @ self.a) * self._scale
        # GPT-2 and similar models keep their weights transposed.
        change = change if isinstance(self.base, nn.Linear) else change.T
        weight.copy_(weight.to(change.dtype) + change)
        return self.base


def add_factors(backbone: Backbone, rank: int, alpha: float, seed: int) -> None:
    """Freeze a backbone but for its item table, and give each linear layer trainable factors without effect.

    Args:
        backbone: changed in place, as it is placed.
        rank: of the factors.
        alpha: numerator of their scale.
        seed: of their initial values.
    """
    backbone.requires_grad_(False)
    backbone.items.requires_grad_(True)
    with seeded(seed):
        for name, module in list(backbone.named_modules()):
            if name.split(".")[-1] in backbone.adapter_targets and hasattr(module, "weight"):
                _replace(backbone, name, LowRankLinear(module, rank, alpha / rank).to(backbone.device))


def merge_factors(backbone: Backbone) -> None:
    """Merge the factors of `add_factors` into the weights; the backbone has its own layers again."""
    for name, module in list(backbone.named_modules()):
        if isinstance(module, LowRankLinear):
            _replace(backbone, name, module.merge())


def _replace(backbone: Backbone, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(backbone.get_submodule(parent), last, module)
