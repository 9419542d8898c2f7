"""Causal language model that reads interactions as labelled examples (RecICL, Bao et al., 2024).

As `TextLM`, with a label between the text of an item and its vector: ` Yes` for an interaction that counts, ` No` for
one below the threshold (`backbone.format: examples`). A window has the negative row of an item that was disliked. A
dislike is never a target, and its item is scored like any other.
"""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pipeline.config import BackboneSettings
from pipeline.models.backbones.causal_lm import tokens_of
from pipeline.models.backbones.text_lm import NO_TOKEN, TextLM, TextLMConfig
from pipeline.models.catalogue import Catalogue

LABELS = (" No", " Yes")
"""Text of the label of an item that was disliked, and of one that was liked; its first token is read."""


class ExamplesLM(TextLM):
    """A decoder over the tokens, labels and vectors of items.

    Attributes:
        labels: (2,) token ids of `LABELS`.
    """

    beside_text: ClassVar[int] = 2
    labels: Tensor

    def __init__(self, config: TextLMConfig, decoder: Any = None) -> None:
        super().__init__(config, decoder)
        self.register_buffer("labels", torch.zeros(2, dtype=torch.int32), persistent=False)

    def item_texts(self) -> dict[str, Tensor]:
        """See `Backbone.item_texts`."""
        return {**super().item_texts(), "labels": self.labels}

    @classmethod
    def from_settings(cls, settings: BackboneSettings, length: int, catalogue: Catalogue) -> Self:
        """See `Backbone.from_settings`."""
        wrapped = super().from_settings(settings, length, catalogue)
        wrapped.labels = torch.tensor([tokens_of(wrapped.tokenizer, label)[0] for label in LABELS], dtype=torch.int32)
        return wrapped

    def _read_tokens(self, rows: Tensor) -> Tensor:
        """See `TextLM._read_tokens`; negative rows are of disliked items."""
        label = self.labels[(rows > 0).long()].unsqueeze(2)
        labelled = torch.cat([super()._read_tokens(rows.abs()), label], dim=2)
        return labelled.masked_fill((rows == 0).unsqueeze(2), NO_TOKEN)

    def _inputs(self, windows: Tensor, vectors: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `TextLM._inputs`."""
        return super()._inputs(windows.abs(), vectors, rows)
