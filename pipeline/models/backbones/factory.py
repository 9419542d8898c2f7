"""Backbones by name; a new one is one file and one line here."""

from typing import TypeVar

import torch

from pipeline.config import BackboneSettings
from pipeline.models.backbones.base import Backbone
from pipeline.models.backbones.bert4rec import BERT4Rec
from pipeline.models.backbones.causal_lm import CausalLM
from pipeline.models.backbones.examples_lm import ExamplesLM
from pipeline.models.backbones.sasrec import SASRec
from pipeline.models.backbones.text_lm import TextLM
from pipeline.models.catalogue import Catalogue
from pipeline.models.seeding import seeded

Built = TypeVar("Built", bound=Backbone)

KINDS: dict[str, type[Backbone]] = {
    "sasrec": SASRec,
    "bert4rec": BERT4Rec,
    "causal_lm": CausalLM,
    "causal_lm_text": TextLM,
    "causal_lm_examples": ExamplesLM,
}
"""Architecture by `backbone.kind`, and `backbone.format` where that is not `items`."""


def build_backbone(settings: BackboneSettings, length: int, catalogue: Catalogue, seed: int) -> Backbone:
    """Build an untrained backbone over a catalogue.

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
    kind = settings.kind if settings.format == "items" else f"{settings.kind}_{settings.format}"
    return build(KINDS[kind], settings, length, catalogue, seed)


def build(architecture: type[Built], settings: BackboneSettings, length: int, catalogue: Catalogue, seed: int) -> Built:
    """Build a backbone of an architecture; the rest as of `build_backbone`."""
    with seeded(seed):
        model = architecture.from_settings(settings, length, catalogue)
    texts = torch.from_numpy(catalogue.vectors)
    model.items.hold_texts(texts.dtype)
    model.items.text[1:] = texts
    model.eval()  # type: ignore[no-untyped-call]
    return model
