"""Making a backbone from the configuration, and keeping it on disk.

A kept backbone is a folder of four files: `config.json` (its shape), `model.safetensors` (its weights),
`item_texts.safetensors` (the text embeddings it reads) and `backbone.json` (its kind and what the others
must hash to).
Nothing in it is ever run: weights are safetensors, and the rest is JSON.
"""

import torch

from pipeline.config import BackboneSettings
from pipeline.errors import BackboneError
from pipeline.models.backbones.base import Backbone
from pipeline.models.backbones.bert4rec import BERT4Rec
from pipeline.models.backbones.causal_lm import CausalLM, wrap_language_model
from pipeline.models.backbones.sasrec import SASRec
from pipeline.models.backbones.transformer import SequenceConfig
from pipeline.models.catalogue import Catalogue
from pipeline.models.seeding import seeded

KINDS: dict[str, type[Backbone]] = {"sasrec": SASRec, "bert4rec": BERT4Rec, "causal_lm": CausalLM}
"""Architecture by its name in the configuration."""


def build_backbone(settings: BackboneSettings, length: int, catalogue: Catalogue, seed: int) -> Backbone:
    """Make an untrained backbone over a catalogue.

    Args:
        settings: kind and shape, or the language model to wrap.
        length: items in a window.
        catalogue: n items; their text embeddings become part of the backbone.
        seed: of the initial weights.

    Returns:
        The backbone, in evaluation mode.

    Raises:
        BackboneError: the language model cannot be loaded.
    """
    with seeded(seed):
        model = _untrained(settings, length, catalogue)
    model.items.text[1:] = torch.from_numpy(catalogue.vectors)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _untrained(settings: BackboneSettings, length: int, catalogue: Catalogue) -> Backbone:
    text_dimensions = catalogue.vectors.shape[1]
    if settings.kind == "causal_lm":
        if not settings.model:
            raise BackboneError("backbone.kind is causal_lm: backbone.model must name a language model")
        return wrap_language_model(settings.model, catalogue.texts, text_dimensions, length)
    shape = SequenceConfig(
        items=len(catalogue),
        text_dimensions=text_dimensions,
        length=length,
        hidden_size=settings.hidden_size,
        blocks=settings.blocks,
        heads=settings.heads,
        dropout=settings.dropout,
    )
    return SASRec(shape) if settings.kind == "sasrec" else BERT4Rec(shape)
