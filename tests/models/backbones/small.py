"""Backbones of a few thousand weights over a catalogue of a dozen items, and windows to ask them about."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.config import BackboneSettings
from pipeline.events.windows import Windows, no_earlier
from pipeline.models.backbones.base import Backbone, last_states
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.catalogue import Catalogue

ITEMS, LENGTH, TEXT = 12, 5, 6
KINDS = ("sasrec", "bert4rec", "causal_lm", "causal_lm_text", "causal_lm_examples")
CONTEXTS = torch.tensor([[0, 0, 0, 0, 7], [0, 0, 1, 2, 3], [4, 5, 6, 7, 8], [9, 9, 1, 1, 12]])
EMPTY = torch.zeros(1, LENGTH, dtype=torch.long)


WORDS = (
    *("toy", "story", "heat", "casino", "sudden", "death", "golden", "eye"),
    *("powder", "dracula", "nixon", "money", "four", "rooms", "ace", "now"),
)
"""Words that the tokenizer of `text_llama` knows."""

TITLES = tuple(" ".join(WORDS[row : row + row % 4]) for row in range(1, ITEMS + 1))
"""Texts of none to three words, by item."""


def small_catalogue(texts: tuple[str, ...] = ("toy",) * ITEMS, text_dimensions: int = TEXT) -> Catalogue:
    vectors = np.random.default_rng(0).normal(size=(ITEMS, text_dimensions)).astype(np.float32)
    return Catalogue(tuple(f"i{row:02}" for row in range(1, ITEMS + 1)), texts, vectors, "test")


@cache
def tiny_llama() -> Path:
    """Folder of a random language model, without a tokenizer."""
    folder = Path(mkdtemp(prefix="tiny-llama-"))
    save_llama(folder)
    return folder


@cache
def text_llama() -> Path:
    """Folder of a random language model with a tokenizer that knows `WORDS`."""
    folder = Path(mkdtemp(prefix="text-llama-"))
    save_llama(folder, positions=64)
    save_tokenizer(folder, WORDS)
    return folder


def save_tokenizer(folder: Path, words: Sequence[str]) -> None:
    """Write a tokenizer of whole words, with ids from 1, of `Yes` and of `No`; all others are 0."""
    vocabulary = {word: number for number, word in enumerate(("[UNK]", *words, "Yes", "No"))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)


def save_llama(
    folder: Path, dtype: torch.dtype = torch.float32, vocabulary: int = 20, positions: int = 32, width: int = 16
) -> None:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=positions,
    )
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)


def settings_of(kind: str) -> BackboneSettings:
    """Section `backbone` of a small backbone; `causal_lm_FORMAT` is a language model that reads texts."""
    if form := kind.partition("causal_lm_")[2]:
        return BackboneSettings.model_validate(
            {"kind": "causal_lm", "format": form, "text_tokens": 3, "model": str(text_llama())}
        )
    model = str(tiny_llama()) if kind == "causal_lm" else None
    return BackboneSettings.model_validate({"kind": kind, "model": model, "hidden_size": 16})


def small_backbone(kind: str, seed: int = 0, text_dimensions: int = TEXT) -> Backbone:
    backbone = build_backbone(settings_of(kind), LENGTH, small_catalogue(TITLES, text_dimensions), seed)
    with torch.no_grad():
        # As after some training: rows that differ and are not tiny.
        backbone.items.rows.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return backbone


@torch.inference_mode()
def scores(model: Backbone, contexts: Tensor) -> Tensor:
    """(n, length) windows to (n, items + 1) scores."""
    states, vectors = model(contexts)
    return last_states(states) @ vectors.T


def windows_of(contexts: NDArray[np.int64], targets: NDArray[np.int64], since_setup: int = 0) -> Windows:
    """Windows of as many users, all with as many items taken since set-up."""
    n = len(targets)
    names = np.array([f"n{i}" for i in range(n)])
    return Windows(
        contexts,
        targets,
        names,
        names,
        np.arange(n, dtype=np.float64),
        np.full(n, since_setup),
        np.arange(n),
        no_earlier(n),
    )


def successor_windows(n: int, seed: int, items: int = ITEMS) -> Windows:
    """Windows of a log in which item i is always followed by item i + 1, round and round."""
    starts = np.random.default_rng(seed).integers(items, size=n)
    rows = (starts[:, None] + np.arange(LENGTH + 1)) % items + 1
    return windows_of(rows[:, :-1].copy(), rows[:, -1].copy())
