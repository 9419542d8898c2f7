"""Self-attention over item vectors, the common part of SASRec and BERT4Rec."""

from abc import abstractmethod
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from pipeline.config import BackboneSettings
from pipeline.models.backbones.base import Backbone, ItemTable
from pipeline.models.backbones.dropout import ByteDropout
from pipeline.models.catalogue import Catalogue


class SequenceConfig(PretrainedConfig):
    """Shape of a self-attention backbone over item vectors.

    Attributes:
        items: catalogue size.
        text_dimensions: width of the text embeddings, 0 without text.
        length: items in a window.
        hidden_size: width of the item vectors and states.
        blocks, heads: transformer blocks, attention heads.
        dropout: in training.
    """

    model_type = "raie-sequence"

    def __init__(
        self,
        items: int = 1,
        text_dimensions: int = 0,
        length: int = 10,
        hidden_size: int = 64,
        blocks: int = 2,
        heads: int = 2,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.items = items
        self.text_dimensions = text_dimensions
        self.length = length
        self.hidden_size = hidden_size
        self.blocks = blocks
        self.heads = heads
        self.dropout = dropout


class Block(nn.Module):
    """Pre-norm transformer block; an adapter may change its four linear layers."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = ByteDropout(config.dropout)

    def forward(self, states: Tensor, allowed: Tensor, since: int = 0) -> Tensor:
        """(n, length, d) states and (n, 1, length, length) attention mask to (n, length - since, d).

        Positions before `since` are keys and values only.
        """
        states = states[:, since:] + self.dropout(self._attend(self.norm_attention(states), allowed, since))
        inner = functional.gelu(self.up(self.norm_feed_forward(states)))
        mixed: Tensor = states + self.dropout(self.down(self.dropout(inner)))
        return mixed

    def _attend(self, states: Tensor, allowed: Tensor, since: int) -> Tensor:
        n, length, width = states.shape
        split = self.qkv(states).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            query[:, :, since:], key, value, attn_mask=allowed[:, :, since:]
        )
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, length - since, width))
        return out


class SequenceBackbone(Backbone):
    """Backbone with position embeddings, transformer blocks and a final norm.

    Attributes:
        extra_positions: positions after the window.
    """

    config_class = SequenceConfig
    adapter_targets = ("qkv", "out", "up", "down")
    extra_positions: ClassVar[int] = 0

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        self.items = ItemTable(config.items, config.hidden_size, config.text_dimensions)
        self.positions = nn.Embedding(config.length + self.extra_positions, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = ByteDropout(config.dropout)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_settings(cls, settings: BackboneSettings, length: int, catalogue: Catalogue) -> Self:
        """See `Backbone.from_settings`."""
        shape = SequenceConfig(
            items=len(catalogue),
            text_dimensions=catalogue.vectors.shape[1],
            length=length,
            hidden_size=settings.hidden_size,
            blocks=settings.blocks,
            heads=settings.heads,
            dropout=settings.dropout,
        )
        return cls(shape)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def hidden(self, windows: Tensor, vectors: Tensor) -> Tensor:
        """See `Backbone.hidden`."""
        return self._run(*self.inputs(windows, vectors), since=0)

    def last(self, windows: Tensor, vectors: Tensor, rows: Tensor | None = None) -> Tensor:
        """See `Backbone.last`: the last block computes one position."""
        del rows
        return self._run(*self.inputs(windows, vectors), since=-1)[:, -1]

    @abstractmethod
    def inputs(self, windows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """(n, length) rows to (n, positions, d) input states and the attention mask.

        The mask is (n, 1, positions, positions) or a shape that broadcasts to it, True where a position attends to
        another; the last position predicts.
        """

    def _run(self, states: Tensor, allowed: Tensor, since: int) -> Tensor:
        vectors = states.dtype
        states = self.dropout(states.to(self.precision) + self.positions.weight)
        for block in self.blocks[:-1]:
            states = block(states, allowed)
        normed: Tensor = self.norm(self.blocks[-1](states, allowed, since % states.shape[1]))
        return normed.to(vectors)
