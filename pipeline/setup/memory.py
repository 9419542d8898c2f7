"""Memory that the training in set-up needs, estimated before its first step and compared with what there is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.models.backbones.base import Backbone
from pipeline.models.lora.factors import widths
from pipeline.models.placement import NONE, Placement

GB = 1e9
FLOAT32 = 4

KEPT = 1.3
"""Numbers that a training step keeps of a layer, for each number that goes into or out of its linear parts."""

COPIES = 4
"""Copies of each number in training: its gradient, two moments of Adam, the weights of the best epoch."""

SCORES = 3
"""Numbers kept of each logit: itself, its log probability, its gradient."""

Available = Callable[[torch.device], int | None]
"""Bytes that are free on a device; None where that is not known."""


@dataclass(frozen=True)
class Need:
    """Estimated bytes of a training.

    Attributes:
        weights: the weights, text embeddings included.
        training: gradients, optimiser and the weights of the best epoch.
        activations: numbers that a step keeps for its backward pass.
        teacher: answers of a teacher, and what a step computes from them.
    """

    weights: int
    training: int
    activations: int
    teacher: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.training + self.activations + self.teacher


def need_of(backbone: Backbone, config: Config, precision: torch.dtype, answers: int = 0) -> Need:
    """Estimate the memory of training a backbone.

    Args:
        backbone: untrained, without factors.
        config: sections `backbone`, `setup`, `softmax`, `windows`.
        precision: of the weights once they are frozen.
        answers: bytes that the answers of a teacher take; 0 without one.
    """
    setup, parameters = config.setup, dict(backbone.named_parameters())
    items = sum(parameter.numel() for name, parameter in parameters.items() if name.startswith("items."))
    rest, layers = sum(map(torch.numel, parameters.values())) - items, _linear_layers(backbone)
    by_lora = setup.train == "lora"
    factors = setup.lora_rank * sum(map(sum, layers)) if by_lora else 0
    weights = (items + factors) * FLOAT32 + rest * (precision.itemsize if by_lora else FLOAT32)
    trained = items + factors if by_lora else items + rest
    return Need(
        weights + backbone.items.text.nbytes,
        COPIES * FLOAT32 * trained,
        _activations(backbone, config, layers, precision.itemsize if by_lora else FLOAT32),
        answers and answers + _logits(backbone, config),
    )


def frozen_bytes(backbone: Backbone, placement: Placement) -> int:
    """Estimate the bytes of weights and text embeddings once a backbone is frozen.

    Args:
        backbone: untrained, without factors.
        placement: after set-up.
    """
    sizes = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    items = sum(size for name, size in sizes.items() if name.startswith("items."))
    layers = [] if placement.quantization == NONE else _linear_layers(backbone)
    numbers = sum(width_in * width_out for width_in, width_out in layers)
    scales = sum(width_out for _, width_out in layers)
    rest = (sum(sizes.values()) - items - numbers) * placement.precision.itemsize
    return (items + scales) * FLOAT32 + numbers + rest + backbone.items.text.nbytes


def check_memory(
    backbone: Backbone, config: Config, placement: Placement, available: Available, answers: int = 0
) -> str:
    """Compare need and have.

    Args:
        backbone: see `need_of`.
        config: see `need_of`.
        placement: of the training.
        available: says what is free on a device.
        answers: see `need_of`.

    Returns:
        A line for the user.

    Raises:
        ConfigError: the training does not fit; the message says what would.
    """
    need, have = need_of(backbone, config, placement.precision, answers), _have(backbone, placement, available)
    line = (
        f"set-up needs about {_gb(need.total)} GB: {_gb(need.weights)} for weights, {_gb(need.training)} for gradients "
        f"and optimiser, {_gb(need.activations)} for activations"
    )
    if answers:
        line += f", {_gb(need.teacher)} for what is distilled"
    if placement.quantization != NONE:
        line += f" ({_gb(frozen_bytes(backbone, placement))} GB for weights and texts once they are quantised)"
    if have is None or need.total <= have:
        return line if have is None else f"{line}; {_gb(have)} are there on {placement.device}"
    smaller = [f"`{names}` needs {_gb(total)}" for names, total in _alternatives(backbone, config, placement, answers)]
    raise ConfigError([f"{line}, and {_gb(have)} are there on {placement.device}; {', '.join(smaller)}"])


def _have(backbone: Backbone, placement: Placement, available: Available) -> int | None:
    """Bytes for the training on its device, those that the weights take there already among them."""
    free = available(placement.device)
    if free is None or backbone.device.type != placement.device.type:
        return free
    return free + backbone.weight_bytes + backbone.items.text.nbytes


def _alternatives(backbone: Backbone, config: Config, placement: Placement, answers: int) -> list[tuple[str, int]]:
    """Settings that need less, each beside those before it, and what they need."""
    updates: list[tuple[str, dict[str, object]]] = []
    if config.backbone.kind == "causal_lm":
        updates = [("setup.train: lora", {"train": "lora"})]
        updates += [("setup.gradient_checkpointing: true", {"gradient_checkpointing": True})]
    updates += [("setup.accumulation: 8", {"accumulation": max(8, config.setup.accumulation)})]
    found: list[tuple[str, int]] = []
    setup, least = config.setup, need_of(backbone, config, placement.precision, answers).total
    for name, update in updates:
        setup = setup.model_copy(update=update)
        total = need_of(backbone, config.model_copy(update={"setup": setup}), placement.precision, answers).total
        if total < least:
            names = name if not found else f"{found[-1][0]}, {name}"
            found.append((names, total))
            least = total
    return found


def _linear_layers(backbone: Backbone) -> list[tuple[int, int]]:
    """Input and output width of each linear layer that an adapter may change."""
    named: list[tuple[str, nn.Module]] = list(backbone.named_modules())
    return [
        widths(module)
        for name, module in named
        if name.split(".")[-1] in backbone.adapter_targets and hasattr(module, "weight")
    ]


def _activations(backbone: Backbone, config: Config, layers: list[tuple[int, int]], size: int) -> int:
    """Bytes that one part of a step keeps, its item vectors and logits included; `size` bytes a number."""
    setup, width = config.setup, backbone.items.rows.weight.shape[1]
    windows = _windows(config)
    positions = {"items": 1, "text": 1 + config.backbone.text_tokens, "examples": 2 + config.backbone.text_tokens}
    tokens = windows * config.windows.length * positions[config.backbone.format]
    linear = KEPT * tokens * sum(map(sum, layers)) * size
    if setup.gradient_checkpointing:
        blocks = max(len(layers) // len(backbone.adapter_targets), 1)
        linear = linear / blocks + tokens * width * size * blocks
    vectors = (_candidates(backbone, config) + tokens) * (width + backbone.items.text.shape[1])
    return int(linear) + FLOAT32 * vectors + _logits(backbone, config)


def _logits(backbone: Backbone, config: Config) -> int:
    """Bytes that one part of a step keeps of its logits."""
    return FLOAT32 * SCORES * _windows(config) * _candidates(backbone, config)


def _windows(config: Config) -> int:
    """Windows of one part of a step."""
    return -(-config.setup.batch_size // config.setup.accumulation)


def _candidates(backbone: Backbone, config: Config) -> int:
    """Rows of the softmax."""
    known = backbone.items.last
    return known if known <= config.softmax.full_up_to else config.softmax.negatives


def _gb(size: int) -> str:
    return f"{size / GB:.2g}" if size < 10 * GB else f"{size / GB:.0f}"
