"""Causal language model that reads the texts of items (`backbone.format: text`).

    sequence     start, instruction, then each item of the window: the tokens of its text, then its vector
    states       those at the items' vectors, the last of which predicts; padding has the state after the instruction

An item without text is its vector alone, as in `items`. Item vectors and scores are those of `CausalLM`. Sequences are
padded at their ends, which no earlier position sees, so that all begin with the same instruction at the same positions.
"""

from copy import deepcopy
from inspect import signature
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from pipeline.config import BackboneSettings
from pipeline.errors import BackboneError
from pipeline.events.windows import PADDING
from pipeline.models.backbones.base import last_states
from pipeline.models.backbones.causal_lm import CausalLM, CausalLMConfig, tokens_of
from pipeline.models.catalogue import Catalogue

INSTRUCTION = "Items that one person chose, oldest first:\n"
"""Read before every window."""

TOGETHER = 64
"""Windows of a pass without gradients: a call may bring thousands, and each is a hundred positions or more."""

NO_TOKEN = -1
"""Filling of the token table."""


class TextLMConfig(CausalLMConfig):
    """A language model, the catalogue added to it, and the way it reads texts.

    Attributes:
        text_tokens: tokens of an item's text at most.
        instruction: token ids read before every window.
    """

    model_type = "raie-text-lm"

    def __init__(self, text_tokens: int = 1, instruction: list[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text_tokens = text_tokens
        self.instruction = instruction or []


class Prefix(NamedTuple):
    """Start and instruction as the decoder keeps them; all windows share them.

    Attributes:
        cache: keys and values of one sequence, by layer.
        state: (1, 1, d) state at its end.
    """

    cache: Any
    state: Tensor


class TextLM(CausalLM):
    """A decoder over the tokens and vectors of items.

    Attributes:
        tokens: (rows, text_tokens) int32 token ids of every item's text, `NO_TOKEN` behind its end; not part of the
            weights.
        beside_text: positions of an item beside the tokens of its text.
    """

    beside_text: ClassVar[int] = 1
    config_class: type[CausalLMConfig] = TextLMConfig
    tokens: Tensor
    instruction: Tensor

    def __init__(self, config: TextLMConfig, decoder: Any = None) -> None:
        super().__init__(config, decoder)
        unknown = torch.full((config.items + 1, config.text_tokens), NO_TOKEN, dtype=torch.int32)
        self.register_buffer("tokens", unknown, persistent=False)
        instruction = torch.tensor(config.instruction, dtype=torch.int64)
        self.register_buffer("instruction", instruction, persistent=False)

    @classmethod
    def from_settings(cls, settings: BackboneSettings, length: int, catalogue: Catalogue) -> Self:
        """See `Backbone.from_settings`."""
        wrapped = super().from_settings(settings, length, catalogue)
        for row, text in enumerate(catalogue.texts, start=1):
            wrapped._write_tokens(row, text)
        return wrapped

    @classmethod
    def _config_of(cls, shape: CausalLMConfig, settings: BackboneSettings, tokenizer: Any) -> TextLMConfig:
        """See `CausalLM._config_of`: the longest window must fit the positions of the model."""
        if tokenizer is None:
            raise BackboneError(
                f"the language model {settings.model!r} has no tokenizer to read texts with: put its files beside the "
                "weights, or set backbone.format to items"
            )
        instruction = tokens_of(tokenizer, INSTRUCTION)
        longest = 1 + len(instruction) + shape.length * (settings.text_tokens + cls.beside_text)
        positions = (shape.language_model or {}).get("max_position_embeddings") or longest
        if longest > positions:
            raise BackboneError(
                f"a window of texts may take {longest} positions, and the language model has {positions}: lower "
                f"windows.length ({shape.length}) or backbone.text_tokens ({settings.text_tokens})"
            )
        return TextLMConfig(
            settings.text_tokens,
            instruction,
            language_model=shape.language_model,
            items=shape.items,
            text_dimensions=shape.text_dimensions,
            length=shape.length,
        )

    def set_item(self, row: int, text: str, vector: Tensor, *, keep_row: bool) -> None:
        """See `Backbone.set_item`."""
        super().set_item(row, text, vector, keep_row=keep_row)
        missing = self.items.capacity - len(self.tokens)
        if missing > 0:
            self.tokens = functional.pad(self.tokens, (0, 0, 0, missing), value=NO_TOKEN)
        self._write_tokens(row, text)

    def item_texts(self) -> dict[str, Tensor]:
        """See `Backbone.item_texts`."""
        return {**super().item_texts(), "tokens": self.tokens}

    def hidden(self, windows: Tensor, vectors: Tensor) -> Tensor:
        """See `Backbone.hidden`; without gradients, start and instruction are computed once for all windows."""
        if torch.is_grad_enabled():
            return self._read(windows, vectors, windows, None)
        prefix = self._prefix()
        return torch.cat([self._read(part, vectors, part, prefix) for part in windows.split(TOGETHER)])

    def last(self, windows: Tensor, vectors: Tensor, rows: Tensor | None = None) -> Tensor:
        """See `Backbone.last`; given other vectors, each window has a prefix of its own, and may have an adapter."""
        states = self.hidden(windows, vectors) if rows is None else self._read(windows, vectors, rows, None)
        return last_states(states)

    def _write_tokens(self, row: int, text: str) -> None:
        """Keep the first tokens of a row's text."""
        tokens = tokens_of(self.tokenizer, text)[: self.tokens.shape[1]] if text else []
        self.tokens[row] = NO_TOKEN
        self.tokens[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)

    def _read_tokens(self, rows: Tensor) -> Tensor:
        """(n, length, tokens) token ids read before the vectors of items, `NO_TOKEN` where there are fewer."""
        return self.tokens[rows]

    def _opening(self) -> Tensor:
        """(1, 1 + instruction, d) inputs that precede every window."""
        return torch.cat([self.start.unsqueeze(0), self._embedded(self.instruction)]).unsqueeze(0)

    def _embedded(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.decoder.get_input_embeddings()(tokens)
        return embedded

    def _prefix(self) -> Prefix:
        cache = DynamicCache(config=self.decoder.config)
        return Prefix(cache, self._decoded(self._opening(), cache)[:, -1:])

    def _decoded(self, inputs: Tensor, cache: Any = None) -> Tensor:
        """(n, positions, d) states of (n, positions, d) inputs that follow what is in a cache, to which they are added.

        Every padding lies behind what is read, so that causal attention needs no mask.
        """
        # transformers 5 renamed the argument.
        name = "cache" if "cache" in signature(self.decoder.forward).parameters else "past_key_values"
        states: Tensor = self.decoder(
            inputs_embeds=inputs, use_cache=cache is not None, **{name: cache}
        ).last_hidden_state
        return states

    def _read(self, windows: Tensor, vectors: Tensor, rows: Tensor, prefix: Prefix | None) -> Tensor:
        """(n, length, d) states of windows; `rows` as in `last`."""
        inputs, ends = self._inputs(windows, vectors, rows)
        n = len(windows)
        if prefix is None:
            opening = self._opening()
            together = torch.cat([opening.expand(n, -1, -1), inputs], dim=1)
            states = self._decoded(together)[:, opening.shape[1] - 1 :]
        else:
            cache = deepcopy(prefix.cache)
            cache.batch_repeat_interleave(n)
            states = torch.cat([prefix.state.expand(n, -1, -1), self._decoded(inputs, cache)], dim=1)
        found: Tensor = states.gather(1, ends.unsqueeze(2).expand(-1, -1, states.shape[2]))
        return found.to(vectors.dtype)

    def _inputs(self, windows: Tensor, vectors: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Sequences of n windows, without what precedes them.

        Returns:
            (n, positions, d) inputs, and (n, length) numbers of positions up to each item's vector, 0 for padding.
        """
        tokens, present = self._read_tokens(rows), (rows != PADDING).unsqueeze(2)
        grid = functional.pad(tokens, (0, 1)).flatten(1)
        used = torch.cat([tokens != NO_TOKEN, present], dim=2)
        places = used.flatten(1).cumsum(dim=1)
        ends = places.view_as(used)[:, :, -1] * present.squeeze(2)
        ids = grid.new_zeros(len(rows), max([1, *places[:, -1].tolist()]))
        window, place = used.flatten(1).nonzero(as_tuple=True)
        ids[window, places[window, place] - 1] = grid[window, place]
        embedded = self._embedded(ids)
        window, item = present.squeeze(2).nonzero(as_tuple=True)
        closing = functional.embedding(windows[window, item], vectors).to(embedded.dtype)
        return embedded.index_put((window, ends[window, item] - 1), closing), ends
