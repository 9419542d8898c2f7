"""Quantised linear layers of a frozen language model, by torchao, which this module alone uses.

A weight matrix is held as 8 bits a number and one scale a row, which rounds the numbers of a row to 255 steps. A
product multiplies in the precision of its input, so that one matrix at a time is in full precision.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Layer = TypeVar("Layer", bound=nn.Linear)

NUMBERS, SCALES = ".int8", ".scale"
"""Ends of the names of the two tensors that stand for a quantised weight in a file."""


class _Product(torch.autograd.Function):
    """Product with a frozen matrix, of which nothing is kept in full precision for the backward pass."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor) -> Tensor:
        """(..., in) states and a (out, in) quantised weight to (..., out)."""
        ctx.weight = weight
        return functional.linear(states, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """(..., out) gradients to those of the states."""
        return gradients[0] @ ctx.weight.dequantize(gradients[0].dtype), None


class QuantizedLinear(nn.Linear):
    """Linear layer whose weight has 8 bits a number; it is never trained."""

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """Quantise a layer; the layer itself stays as it is, and shares its bias."""
        from torchao.quantization import Int8Tensor, PerRow  # noqa: PLC0415

        weight = Int8Tensor.from_hp(layer.weight.detach(), PerRow())
        return cls._made(layer, weight.qdata, weight.scale, layer.weight.dtype)

    @classmethod
    def empty(cls, layer: nn.Linear, precision: torch.dtype) -> Self:
        """A quantised layer in place of one, whose weight is still to be written; it computes in a precision."""
        numbers = torch.empty(layer.weight.shape, dtype=torch.int8)
        return cls._made(layer, numbers, torch.empty(len(numbers), 1), precision)

    @classmethod
    def _made(cls, layer: nn.Linear, numbers: Tensor, scales: Tensor, dtype: torch.dtype) -> Self:
        from torchao.quantization import Int8Tensor  # noqa: PLC0415

        made = cls(layer.in_features, layer.out_features, bias=False, device="meta")
        weight = Int8Tensor(numbers, scales, [1, layer.in_features], dtype)
        made.weight, made.bias = nn.Parameter(weight, requires_grad=False), layer.bias
        return made

    def in_full(self) -> nn.Linear:
        """A linear layer with the same numbers, not quantised."""
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight, layer.bias = nn.Parameter(in_full(self.weight)), self.bias
        return layer

    def forward(self, states: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        product: Tensor = _Product.apply(states, self.weight)
        return product if self.bias is None else product + self.bias


def quantize(model: nn.Module) -> None:
    """Replace the linear layers of a model by quantised ones, one after the other, in place."""
    _replace(model, nn.Linear, QuantizedLinear.of)


def quantize_empty(model: nn.Module, precision: torch.dtype) -> None:
    """As `quantize`, where the weights are still to be written; layers compute in a precision."""
    _replace(model, nn.Linear, partial(QuantizedLinear.empty, precision=precision))


def dequantize(model: nn.Module) -> None:
    """Replace the quantised layers of a model by plain ones, in place; what was rounded stays so."""
    _replace(model, QuantizedLinear, QuantizedLinear.in_full)


def _replace(model: nn.Module, kind: type[Layer], replacement: Callable[[Layer], nn.Linear]) -> None:
    for name, layer in list(model.named_modules()):
        if isinstance(layer, kind):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, replacement(layer))


def plain_tensors(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a model by name, with two plain ones in place of each quantised weight; they share its memory."""
    return dict(_plain(named))


def _plain(named: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in named.items():
        if is_quantized(tensor):
            held: Any = tensor
            yield f"{name}{NUMBERS}", held.qdata
            yield f"{name}{SCALES}", held.scale
        else:
            yield name, tensor


def is_quantized(tensor: Tensor) -> bool:
    """True for the weight of a quantised layer."""
    return hasattr(tensor, "qdata")


def in_full(tensor: Tensor) -> Tensor:
    """The numbers of a tensor, quantised or not."""
    held: Any = tensor
    full: Tensor = held.dequantize() if is_quantized(tensor) else tensor
    return full
