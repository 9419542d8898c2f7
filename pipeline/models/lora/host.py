"""Region adapters over one frozen backbone, through peft; the only module that imports peft.

An adapter consists of LoRA factors on the backbone's linear layers, a low-rank delta of the text projection, and
its own rows for the items of its region's windows. Its name is its version (`r0003_v0007`); the tensors of a name
never change once it is registered for serving. Outside `AdapterHost.active` no adapter has an effect on the backbone.
"""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from adapters_store.errors import AdapterRefused
from pipeline.config import AdapterSettings
from pipeline.events.windows import PADDING
from pipeline.models.backbones.base import BLOCK, Backbone, last_states
from pipeline.models.injected import InjectedItems
from pipeline.models.item_writing import write_items
from pipeline.models.lora.tensors import difference
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.seeding import seeded

_ROWS = "trainable_tokens_delta"
_NOTHING = "nothing"
"""Name of a placeholder: peft requires at least one adapter. It is never active."""


class AdapterHost:
    """Frozen backbone and the adapters registered over it.

    Attributes:
        backbone: never changes; adapters are on its device, in float32.
        settings: rank, alpha, dropout and the layers of an adapter; the same for all regions.
    """

    def __init__(self, backbone: Backbone, settings: AdapterSettings) -> None:
        self.backbone = backbone.eval().requires_grad_(False)  # type: ignore[no-untyped-call]
        self.settings = settings
        if backbone.items.projection is not None:
            backbone.items.projection = _Frozen(backbone.items.projection)
        backbone.items.resize(backbone.items.last)
        self._vectors: dict[str | None, Tensor] = {}
        self._stale: dict[str | None, set[int]] = {}
        self._injected = InjectedItems.none(backbone.items.rows.weight.shape[1])
        self._injected_rows = np.zeros(0, dtype=np.int64)
        self._injected_at: dict[int, int] = {}
        self._shift = self._nothing()
        self._stale_shifts: set[int] = set()
        self._rewritten: set[int] = set()
        with _quiet():
            self._model: PeftModel = get_peft_model(backbone, self._config([0]), adapter_name=_NOTHING)
        # Every adapter is of the same layers. To search the model for them takes peft longer than to score a batch.
        kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
        self._layers: list[Any] = [layer for layer in self._model.modules() if isinstance(layer, kinds)]
        self._active: str | None = None
        self._activate()

    @property
    def names(self) -> list[str]:
        """Names of the registered adapters."""
        return sorted(name for name in self._model.peft_config if name != _NOTHING)

    def create(self, name: str, rows: Sequence[int], *, parent: str | None, seed: int) -> None:
        """Register a new adapter: a copy of its parent, or without effect where it has none.

        Args:
            name: not yet registered.
            rows: catalogue rows that it may move, those of the parent included.
            parent: a registered adapter to start from.
            seed: for the initial LoRA factors.
        """
        moved = sorted(set(map(int, rows)) | set(self.rows(parent) if parent else ())) or [0]
        self._add(name, moved, seed)
        if parent:
            self._copy(parent, name)

    def register(self, name: str, tensors: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> None:
        """Register an adapter from tensors that `tensors` returned.

        Raises:
            AdapterRefused: `wrong_tensors`, names or shapes do not match this backbone; no adapter is registered.
        """
        self._add(name, rows, seed=0)
        expected = {key: value.shape for key, value in self.tensors(name).items()}
        given = {key: value.shape for key, value in tensors.items()}
        if given != expected:
            self.drop(name)
            raise AdapterRefused("wrong_tensors", difference(name, given, expected))
        state = {key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}
        set_peft_model_state_dict(self._model, state, adapter_name=name)

    def drop(self, name: str) -> None:
        """Remove a registered adapter."""
        self.forget_vectors(name)
        self._model.delete_adapter(name)

    def forget_vectors(self, name: str) -> None:
        """Have the item vectors of an adapter computed anew, since it is trained on."""
        self._vectors.pop(name, None)
        self._stale.pop(name, None)

    def follow(self, catalogue: OpenCatalogue) -> None:
        """Take over the rows and texts that have changed in a catalogue since the last call.

        Args:
            catalogue: the one of the last call, or any where no items are injected.
        """
        changed = catalogue.take_changes()
        write_items(self.backbone, catalogue, changed)
        self._rewritten.update(changed)
        for stale in self._stale.values():
            stale.update(row // BLOCK for row in changed)
        self._move_injected(changed, catalogue.ids)

    def inject(self, injected: InjectedItems, row_of: Mapping[str, int]) -> None:
        """Score items by other vectors than those that windows are read with, under every adapter.

        An adapter's own rows take precedence.

        Args:
            injected: in place of the ones before.
            row_of: catalogue row of every item, by id; items without a row wait for one (see `follow`).
        """
        self._injected = injected
        self._rewritten.update(self._injected_at)
        self._injected_rows = np.array([row_of.get(item_id, PADDING) for item_id in injected.items], dtype=np.int64)
        self._injected_at = {row: i for i, row in enumerate(self._injected_rows.tolist()) if row != PADDING}
        self._shift = torch.zeros(injected.vectors.shape, device=self.backbone.device)
        self._stale_shifts = set(range(len(injected.items)))
        self._rewritten.update(self._injected_at)

    def injected(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(m,) rows of injected items that have one, and their (m, d) vectors."""
        known = self._injected_rows != PADDING
        return self._injected_rows[known], self._injected.vectors[known]

    def take_rewritten(self) -> set[int]:
        """Rows that `follow` has written, and those of injected items that changed, since the last call."""
        rewritten, self._rewritten = self._rewritten, set()
        return rewritten

    def _move_injected(self, changed: Sequence[int], ids: Sequence[str]) -> None:
        """Let injected items follow catalogue rows whose items or texts have changed.

        Args:
            changed: these rows.
            ids: id of the item in every row, "" in a free one.
        """
        for row in changed:
            before = self._injected_at.pop(row, None)
            if before is not None:
                self._injected_rows[before] = PADDING
        for row in changed:
            place = self._injected.place_of.get(ids[row])
            if place is not None:
                self._injected_rows[place], self._injected_at[row] = row, place
                self._stale_shifts.add(place)

    def tensors(self, name: str) -> dict[str, NDArray[Any]]:
        """Copy of the tensors of an adapter, by name."""
        state = get_peft_model_state_dict(self._model, adapter_name=name)
        return {key: value.detach().cpu().numpy().copy() for key, value in state.items()}

    def rows(self, name: str) -> list[int]:
        """Catalogue rows of which an adapter has its own version."""
        config: Any = self._model.peft_config[name]
        return list(config.trainable_token_indices["items.rows"])

    def describe(self, name: str, item_of: Sequence[str]) -> dict[str, object]:
        """Configuration of an adapter, stored beside its weights.

        Args:
            name: of the adapter.
            item_of: id of the item in every catalogue row, which names the adapter's rows, in their order.
        """
        known: dict[str, object] = {
            "rank": self.settings.rank,
            "alpha": self.settings.alpha,
            "targets": list(self.targets),
            "items": [item_of[row] for row in self.rows(name)],
        }
        # What `PeftConfig.from_pretrained` reads; rows are those of this process.
        return known | {
            "peft_type": "LORA",
            "r": self.settings.rank,
            "lora_alpha": self.settings.alpha,
            "lora_dropout": self.settings.dropout,
            "target_modules": list(self.targets),
        }

    def factors(self, name: str) -> dict[str, list[nn.Parameter]]:
        """Low-rank factors A and B of an adapter, by the layer of the backbone that they change."""
        found: dict[str, list[nn.Parameter]] = {}
        for key, parameter in self.backbone.named_parameters():
            if name in key.split(".") and _ROWS not in key:
                found.setdefault(key.partition(".lora_")[0], []).append(parameter)
        return found

    def parameter_groups(
        self, name: str, learning_rate: float, row_learning_rate: float, layers: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Make one adapter trainable until the end of the enclosing `active(name)`, and no other.

        Returns:
            Two groups for an optimizer: the low-rank factors, those of the given layers if any are given, and the item
            rows with a separate learning rate.
        """
        self.forget_vectors(name)
        pairs = self.factors(name)
        factors = [factor for layer in pairs if layers is None or layer in layers for factor in pairs[layer]]
        rows: list[nn.Parameter] = []
        self._model.set_adapter(name)
        for key, parameter in self._model.named_parameters():
            if self.settings.item_rows and _ROWS in key and name in key.split("."):
                rows.append(parameter)
            parameter.requires_grad_(False)
        for parameter in factors + rows:
            parameter.requires_grad_(True)
        groups = [{"params": factors, "lr": learning_rate}, {"params": rows, "lr": row_learning_rate}]
        return [group for group in groups if group["params"]]

    @contextmanager
    def active(self, name: str | None) -> Iterator[Backbone]:
        """Backbone with one adapter active; without any adapter, for None."""
        before = self._active
        if name == before:
            yield self.backbone
            return
        self._active = name
        self._activate()
        try:
            yield self.backbone
        finally:
            self._active = before
            self._activate()

    @torch.inference_mode()
    def vectors(self, name: str | None) -> Tensor:
        """(items + 1, d) item vectors under an adapter, cached until `forget_vectors`, training or `drop`."""
        table = self.backbone.items
        if name not in self._vectors:
            self._vectors[name] = self._nothing()
            self._stale[name] = set(range(table.capacity // BLOCK))
        if self._stale[name]:
            self._renew(name)
        return self._vectors[name][: table.last + 1]

    @torch.inference_mode()
    def states(self, contexts: NDArray[np.int64], name: str | None) -> Tensor:
        """(n, length) windows to (n, length, d) states under an adapter (None: the backbone)."""
        vectors = self.vectors(name)
        with self.active(name) as model:
            return model.hidden(model.windows(contexts), vectors)

    @torch.inference_mode()
    def logits(self, states: Tensor, name: str | None, items: int) -> Tensor:
        """(n, length, d) states under an adapter to (n, items + 1) logits of catalogue rows up to `items`."""
        last = last_states(states)
        logits = last @ self.vectors(name)[: items + 1].T
        rows, shift = self.backbone.windows(self._injected_rows), self._shifts()
        selected = (rows != PADDING) & (rows <= items)
        if name is not None:
            selected &= ~torch.isin(rows, torch.tensor(self.rows(name), device=rows.device))
        if selected.any():
            logits.index_add_(1, rows[selected], last @ shift[selected].T)
        return logits

    def _shifts(self) -> Tensor:
        """(m, d) vectors of injected items less those of the backbone; of no meaning for an item without a row."""
        if self._stale_shifts:
            places = sorted(self._stale_shifts)
            backbone = self.vectors(None)[self._injected_rows[places]]
            self._shift[places] = torch.from_numpy(self._injected.vectors[places]).to(backbone.device) - backbone
            self._stale_shifts.clear()
        return self._shift

    def _nothing(self) -> Tensor:
        """(0, d) item vectors."""
        return torch.zeros(0, self.backbone.items.rows.weight.shape[1], device=self.backbone.device)

    def _renew(self, name: str | None) -> None:
        """Compute the stale blocks of the item vectors under an adapter."""
        blocks, vectors = sorted(self._stale[name]), self._vectors[name]
        missing = self.backbone.items.capacity - len(vectors)
        if missing:
            vectors = self._vectors[name] = torch.cat([vectors, vectors.new_zeros(missing, vectors.shape[1])])
        with self.active(name) as model:
            found = model.items.blocks(blocks)
        vectors.view(-1, BLOCK, vectors.shape[1])[blocks] = found.view(-1, BLOCK, vectors.shape[1])
        self._stale[name].clear()

    def _activate(self) -> None:
        """Let the active adapter have an effect, and no other one.

        This is what `set_adapter` and `enable_adapters` of peft do, less a visit to every adapter of every layer, to
        set what is trained: that is up to `parameter_groups`.
        """
        name = _NOTHING if self._active is None else self._active
        for layer in self._layers:
            layer._active_adapter = [name]
            layer._disable_adapters = self._active is None

    def _add(self, name: str, rows: Sequence[int], seed: int) -> None:
        with seeded(seed), _quiet():
            self._model.add_adapter(name, self._config(list(rows)))
        # The dropout that peft adds with an adapter starts in training mode, regardless of the mode of the model.
        self._model.train(self.backbone.training)
        self._activate()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the linear layers that an adapter changes."""
        projection = ("items.projection",) if self.backbone.items.projection is not None else ()
        return (*self.backbone.adapter_targets, *(projection if self.settings.text_projection else ()))

    def _config(self, rows: list[int]) -> LoraConfig:
        return LoraConfig(
            r=self.settings.rank,
            # peft types it as int and divides by it.
            lora_alpha=self.settings.alpha,  # type: ignore[arg-type]
            lora_dropout=self.settings.dropout,
            target_modules=list(self.targets),
            trainable_token_indices={"items.rows": rows},
        )

    @torch.no_grad()
    def _copy(self, parent: str, child: str) -> None:
        index_of = {row: i for i, row in enumerate(self.rows(child))}
        shared = torch.tensor([index_of[row] for row in self.rows(parent)], device=self.backbone.device)
        state = get_peft_model_state_dict(self._model, adapter_name=parent)
        fresh = get_peft_model_state_dict(self._model, adapter_name=child)
        for key, value in state.items():
            fresh[key] = fresh[key].index_copy(0, shared, value) if _ROWS in key else value.clone()
        set_peft_model_state_dict(self._model, fresh, adapter_name=child)


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


class _Frozen(nn.Linear):
    """Frozen linear layer that caches its output for the texts of the current training.

    Args:
        layer: to share weights with.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight = layer.weight
        self._latest: tuple[Tensor, Tensor] | None = None

    def forward(self, texts: Tensor) -> Tensor:
        """(..., text dimensions) to (..., d)."""
        if not self.training:
            self._latest = None
            return super().forward(texts)
        if self._latest is None or self._latest[0] is not texts:
            self._latest = texts, super().forward(texts)
        return self._latest[1]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings of peft that need no action."""
    with warnings.catch_warnings():
        # peft 0.21 reads a property that transformers 5 renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*is deprecated", FutureWarning)
        # GPT-2 stores its weights transposed; peft detects that itself, layer by layer.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)
        yield
