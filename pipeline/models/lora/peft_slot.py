"""Use of peft, by this module alone: the slot of a backbone in which an adapter takes effect, and factors for set-up.

peft visits every adapter of every layer when one is added, read or removed, which makes a thousand of them take
minutes. So the backbone has one adapter of peft's, the slot, and the parameters of the adapters take turns in it.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from pipeline.config import AdapterSettings
from pipeline.models.backbones.base import Backbone
from pipeline.models.seeding import seeded

ROWS = "base_model.model.items.rows.token_adapter.trainable_tokens_delta"
"""Name of the parameter that has an adapter's own item rows."""

_SLOT, _NEW = "slot", "new"
"""Names of adapters in peft: of the one that stays, and of one that lends its initial values."""


@dataclass(frozen=True)
class Adapter:
    """Adapter of a backbone.

    Attributes:
        parameters: by the name that peft stores each under.
        rows: catalogue rows of which it has its own version.
    """

    parameters: dict[str, nn.Parameter]
    rows: list[int]


class PeftSlot:
    """Slot for one adapter at a time over a frozen backbone; at first nothing is in effect.

    Args:
        backbone: its linear layers are wrapped.
        settings: rank, alpha and dropout of all adapters.
        targets: names of the linear layers that an adapter changes.
    """

    def __init__(self, backbone: Backbone, settings: AdapterSettings, targets: Sequence[str]) -> None:
        self._backbone, self._settings, self._targets = backbone, settings, list(targets)
        with _quiet():
            self._model: PeftModel = get_peft_model(backbone, self._config([0]), adapter_name=_SLOT)
        kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
        self._layers: list[Any] = [layer for layer in self._model.modules() if isinstance(layer, kinds)]
        (self._tokens,) = [layer for layer in self._layers if hasattr(layer, "token_indices")]
        named = [name for name, _ in self._model.named_parameters() if _SLOT in name.split(".")]
        # Item rows come last, as where peft saves an adapter.
        places = {_without(_SLOT, name): self._place(name) for name in named}
        rows = places.pop(ROWS)
        self._places = places | {ROWS: rows}
        self._empty = Adapter({name: parameters[leaf] for name, (parameters, leaf) in self._places.items()}, [0])
        self.show(None)

    def make(self, rows: Sequence[int], seed: int) -> Adapter:
        """Make an adapter without effect, with initial values as peft draws them."""
        with seeded(seed), _quiet():
            self._model.add_adapter(_NEW, self._config(list(rows)))
        parameters = {_without(_NEW, n): p for n, p in self._model.named_parameters() if _NEW in n.split(".")}
        self._model.delete_adapter(_NEW)
        # The dropout that peft adds with an adapter starts in training mode, regardless of the mode of the model.
        self._model.train(self._backbone.training)
        return Adapter({name: parameters[name] for name in self._places}, list(rows))

    def shapes(self, rows: int) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of an adapter with so many rows of its own."""
        known = {name: tuple(parameter.shape) for name, parameter in self._empty.parameters.items()}
        return known | {ROWS: (rows, *known[ROWS][1:])}

    def show(self, adapter: Adapter | None) -> None:
        """Let an adapter have an effect, and no other one; for None, the backbone alone."""
        shown = self._empty if adapter is None else adapter
        for name, (parameters, leaf) in self._places.items():
            parameters[leaf] = shown.parameters[name]
        self._tokens.token_indices[_SLOT] = shown.rows
        for layer in self._layers:
            layer._active_adapter = [_SLOT]
            layer._disable_adapters = adapter is None

    def _place(self, name: str) -> tuple[dict[str, Any], str]:
        module, _, leaf = name.rpartition(".")
        return self._model.get_submodule(module)._parameters, leaf

    def _config(self, rows: list[int]) -> LoraConfig:
        return LoraConfig(
            r=self._settings.rank,
            # peft types it as int and divides by it.
            lora_alpha=self._settings.alpha,  # type: ignore[arg-type]
            lora_dropout=self._settings.dropout,
            target_modules=self._targets,
            trainable_token_indices={"items.rows": rows},
        )


def add_factors(backbone: Backbone, rank: int, alpha: float, seed: int) -> PeftModel:
    """Freeze a backbone but for its item table, and give each linear layer trainable factors (Hu et al., 2021).

    Args:
        backbone: changed in place, as it is placed; the factors are float32 whatever its precision.
        rank: of the factors.
        alpha: numerator of their scale.
        seed: of their initial values, which have no effect yet.

    Returns:
        What `merge_factors` takes.
    """
    # peft types alpha as int and divides by it.
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(backbone.adapter_targets))  # type: ignore[arg-type]
    with seeded(seed), _quiet():
        model: PeftModel = get_peft_model(backbone, config)
    backbone.items.requires_grad_(True)
    return model


def merge_factors(model: PeftModel) -> None:
    """Add the factors to the weights, rounded once to their precision; the backbone has its own layers again."""
    model.merge_and_unload()


def _without(adapter: str, name: str) -> str:
    """Name of a parameter as peft stores it: without that of its adapter."""
    return ".".join(part for part in name.split(".") if part != adapter)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings of peft that need no action."""
    with warnings.catch_warnings():
        # peft 0.21 reads a property that transformers 5 renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*is deprecated", FutureWarning)
        # GPT-2 stores its weights transposed; peft detects that itself, layer by layer.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)
        # No factors are merged into quantised weights.
        warnings.filterwarnings("ignore", ".*without `get_apply_tensor_subclass`", UserWarning)
        yield
