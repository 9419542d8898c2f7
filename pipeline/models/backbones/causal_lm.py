"""Causal language model as a backbone: items are added tokens, scored in one step (OpenP5, Xu et al., 2024).

The model reads a window as a sequence of item tokens and predicts the next one. Item tokens live in the
item table: they start as the mean embedding of the tokens of the item's text, where there is a tokenizer.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from pipeline.config import BackboneSettings
from pipeline.errors import BackboneError
from pipeline.events.windows import PADDING
from pipeline.models.backbones.base import Backbone, ItemTable
from pipeline.models.backbones.packaged import SMOLLM2, converted_smollm2
from pipeline.models.catalogue import Catalogue


class CausalLMConfig(PretrainedConfig):
    """A language model and the catalogue added to it.

    Attributes:
        language_model: configuration of the wrapped model, as a dict.
        items: catalogue size.
        text_dimensions: width of the text embeddings, 0 without text.
        length: items in a window.
    """

    model_type = "raie-causal-lm"

    def __init__(
        self,
        language_model: dict[str, Any] | None = None,
        items: int = 1,
        text_dimensions: int = 0,
        length: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.language_model = language_model
        self.items = items
        self.text_dimensions = text_dimensions
        self.length = length


class CausalLM(Backbone):
    """A decoder over item tokens.

    Args:
        config: of model and catalogue.
        decoder: its weights, where they exist; None: random ones.

    Attributes:
        decoder: the language model without its output head.
        start: (d,) input of an empty window.
    """

    config_class = CausalLMConfig
    informed_rows: ClassVar[bool] = True

    def __init__(self, config: CausalLMConfig, decoder: Any = None) -> None:
        super().__init__(config)
        inner = dict(config.language_model or {})
        shape = AutoConfig.for_model(inner.pop("model_type"), **inner)
        # Random weights in place of those of a given decoder would double the memory.
        with nullcontext() if decoder is None else torch.device("meta"):
            self.decoder = AutoModelForCausalLM.from_config(shape).get_decoder()
        self.items = ItemTable(config.items, shape.hidden_size, config.text_dimensions)
        self.start = nn.Parameter(torch.zeros(shape.hidden_size))
        nn.init.normal_(self.start, std=0.02)
        # GPT-2 and its variants call their linear layers Conv1D.
        kinds = (nn.Linear, Conv1D)
        linear = {name.split(".")[-1] for name, part in self.decoder.named_modules() if isinstance(part, kinds)}
        self.adapter_targets = tuple(sorted(linear))
        self.post_init()  # type: ignore[no-untyped-call]
        if decoder is not None:
            self.decoder = decoder

    @classmethod
    def from_settings(cls, settings: BackboneSettings, length: int, catalogue: Catalogue) -> Self:
        """See `Backbone.from_settings`: weights are those of the language model `settings.model`."""
        if not settings.model:
            raise BackboneError("backbone.kind is causal_lm: backbone.model must name a language model")
        source = settings.model
        if source == SMOLLM2:
            source = str(converted_smollm2(Path(settings.cache).expanduser()))
        model, tokenizer = _load(source, settings.layers), _tokenizer(source)
        shape = CausalLMConfig(model.config.to_dict(), len(catalogue), catalogue.vectors.shape[1], length)
        wrapped = cls(cls._config_of(shape, settings, tokenizer), model.get_decoder())
        for parameter in wrapped.decoder.parameters():
            # Memory that torch has laid out: the last bits of a product may depend on where its factors begin.
            parameter.data = parameter.data.clone()
        with torch.no_grad():
            wrapped.start.copy_(_start(model))
            wrapped.tokenizer = tokenizer
            wrapped.items.rows.weight.zero_()
            for row, text in enumerate(catalogue.texts, start=1):
                wrapped.items.rows.weight[row] = wrapped.own_row(text)
        return wrapped

    @classmethod
    def _config_of(cls, shape: CausalLMConfig, settings: BackboneSettings, tokenizer: Any) -> CausalLMConfig:
        """Configuration of a language model that is about to be wrapped; `tokenizer` is None without one.

        Raises:
            BackboneError: the model cannot be used so.
        """
        del settings, tokenizer
        return shape

    def quantizable(self) -> nn.Module:
        """See `Backbone.quantizable`: the decoder, unless its layers are GPT-2's."""
        if not any(isinstance(part, nn.Linear) for part in self.decoder.modules()):
            return super().quantizable()
        decoder: nn.Module = self.decoder
        return decoder

    def own_row(self, text: str) -> Tensor:
        """(d,) mean token embedding of an item's text, zero where there is no text or no tokenizer."""
        tokens = tokens_of(self.tokenizer, text) if self.tokenizer else []
        if not tokens:
            return super().own_row(text)
        table: Tensor = self.decoder.get_input_embeddings().weight
        return table[tokens].float().mean(dim=0).detach()

    def keep_activations(self, keep: bool) -> None:
        """See `Backbone.keep_activations`: only the input of each layer is kept otherwise."""
        # transformers 5 renamed both methods.
        named = "activation" if hasattr(self.decoder, "activation_checkpointing_enable") else "gradient"
        if not keep:
            getattr(self.decoder, f"{named}_checkpointing_enable")({"use_reentrant": False})
            return
        getattr(self.decoder, f"{named}_checkpointing_disable")()
        if hasattr(self.decoder, "_require_grads_hook"):
            # Its hook on the token embeddings would make the frozen model record gradients.
            self.decoder.disable_input_require_grads()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def hidden(self, windows: Tensor, vectors: Tensor) -> Tensor:
        """See `Backbone.hidden`."""
        present = windows != PADDING
        attended = present.clone()
        attended[:, -1] = True
        started = (attended & ~present).unsqueeze(-1)
        inputs = functional.embedding(windows, vectors) * present.unsqueeze(-1) + self.start * started
        states: Tensor = self.decoder(
            inputs_embeds=inputs.to(self.precision),
            attention_mask=attended.long(),
            position_ids=(attended.long().cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        return states.to(vectors.dtype)


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, without those that mark its start or end."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _load(name: str, layers: int | None) -> Any:
    """Causal language model of a hub id or local folder with safetensors weights, in float32.

    Args:
        name: the hub id or folder.
        layers: number of its first layers that are kept; None: all.
    """
    try:
        shape = _cut(AutoConfig.from_pretrained(name, trust_remote_code=False), layers)
        given: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
        with _without_report():
            loaded: Any = AutoModelForCausalLM.from_pretrained(name, config=shape, output_loading_info=True, **given)
    except (OSError, ValueError, SafetensorError) as error:
        raise BackboneError(
            f"the language model {name!r} cannot be loaded ({error}). backbone.model must be the hub id or the "
            "folder of a causal language model with safetensors weights; without network, download it first"
        ) from error
    model, found = loaded
    # Its output head is not used.
    missing = [key for key in found["missing_keys"] if key.startswith(f"{model.base_model_prefix}.")]
    if missing:
        raise BackboneError(
            f"the language model {name!r} lacks weights that its configuration names, such as {min(missing)}: its "
            "files are incomplete, or of another model"
        )
    return model


@contextmanager
def _without_report() -> Iterator[None]:
    """Silence transformers, which reports the weights of layers that are left out as unexpected."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _cut(shape: Any, layers: int | None) -> Any:
    """Configuration with the first layers alone."""
    if layers is None:
        return shape
    if layers > shape.num_hidden_layers:
        raise BackboneError(
            f"backbone.layers is {layers}, and the language model has {shape.num_hidden_layers} layers: at most these"
        )
    shape.num_hidden_layers = layers
    if getattr(shape, "layer_types", None) is not None:
        shape.layer_types = shape.layer_types[:layers]
    return shape


def _start(model: Any) -> Tensor:
    """(d,) the embedding of the beginning-of-text token, or the mean embedding where there is none."""
    table: Tensor = model.get_input_embeddings().weight.detach()
    token = model.config.bos_token_id
    return table[token] if isinstance(token, int) and token < len(table) else table.mean(dim=0)


def _tokenizer(name: str) -> Any:
    """Tokenizer of a language model, None for a folder without one."""
    if Path(name).is_dir() and not any(Path(name).glob("tokenizer*")):
        return None
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"the tokenizer of the language model {name!r} cannot be loaded ({error}). Put its files beside the "
            "weights, or use a folder without any tokenizer: items are then represented by their text embedding alone"
        ) from error
