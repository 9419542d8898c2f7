"""Frozen Hugging Face encoder with mean pooling."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pipeline.errors import BackboneError
from pipeline.models.text.base import Vectors, unit_rows
from pipeline.models.text.pretrained import find_weights, fingerprint

MAX_TOKENS = 256
"""Longest text, in tokens; the rest is cut off. It is the length that all-MiniLM-L6-v2 was trained with."""

BATCH = 64
"""Texts in one forward pass."""

RECIPE = f"transformer-1 mean-pooling unit-length float32 max-tokens={MAX_TOKENS}"
"""Processing around the weights; the number in its first word increases when the algorithm changes."""


class TransformerEncoder:
    """Text encoder: the mean of the last hidden states of a text's tokens, scaled to unit length.

    Vectors equal those of sentence-transformers for models with mean pooling. The last bits of a float32 vector
    depend on its batch (about 1e-7); `CachedEncoder` keeps the first result for callers that need equal bytes.
    """

    def __init__(self, spec: str) -> None:
        """Load an encoder.

        Args:
            spec: a folder or a hub id; see `find_weights`.

        Raises:
            BackboneError: the encoder cannot be found, is not the published one, or is not an encoder.
        """
        folder = find_weights(spec)
        self.name = spec
        self.identity = _identity(fingerprint(folder))
        self._tokenizer, self._model = _load(spec, folder)
        self.dimensions = int(self._model.config.hidden_size)
        self._max_tokens = _max_tokens(self._tokenizer, self._model.config)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `TextEncoder.encode`."""
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        if not rows:
            return vectors
        tokens = self._tokenize([texts[row] for row in rows])
        # Texts of similar length share a batch, which saves padding.
        order = sorted(range(len(rows)), key=lambda i: len(tokens[i]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            vectors[[rows[i] for i in batch]] = self._pool([tokens[i] for i in batch])
        return vectors

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # A lone surrogate, legal in JSON, is not Unicode text and is rejected by the tokenizer.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        tokens: list[list[int]] = self._tokenizer(clean, truncation=True, max_length=self._max_tokens)["input_ids"]
        return tokens

    @torch.inference_mode()
    def _pool(self, tokens: list[list[int]]) -> Vectors:
        lengths = torch.tensor([len(ids) for ids in tokens])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.full(mask.shape, int(self._tokenizer.pad_token_id))
        ids[mask] = torch.tensor([token for row in tokens for token in row])
        states = self._model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        # Masked out, not multiplied by zero: a padding state may be infinite in some models.
        summed = states.masked_fill(~mask[..., None], 0.0).sum(1)
        return unit_rows((summed / lengths[:, None]).numpy())


def _identity(hashes: dict[str, str]) -> str:
    lines = [RECIPE, *(f"{name} {digest}" for name, digest in hashes.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _load(spec: str, folder: Path) -> tuple[Any, Any]:
    """Tokenizer, and model in evaluation mode with frozen weights."""
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
            model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **safe)
    except Exception as error:
        # transformers passes on the errors of its parsers, so torn and foreign files raise many types.
        raise BackboneError(f"text encoder {spec}: {folder} cannot be loaded ({error}); choose another") from error
    if model.config.is_encoder_decoder or tokenizer.pad_token_id is None:
        raise BackboneError(
            f"text encoder {spec}: {model.config.model_type} is not a text encoder with a padding token; "
            "choose one such as sentence-transformers/all-MiniLM-L6-v2, or `hashing`"
        )
    return tokenizer, model.eval().requires_grad_(False)


def _max_tokens(tokenizer: Any, config: Any) -> int:
    return min(MAX_TOKENS, int(tokenizer.model_max_length), int(getattr(config, "max_position_embeddings", MAX_TOKENS)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Disable the progress bar of transformers for a load of about a second."""
    bars: Any = transformers_logging  # its functions carry no types
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
