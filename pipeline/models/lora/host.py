"""Region adapters over one frozen backbone.

An adapter consists of LoRA factors on the backbone's linear layers, a low-rank delta of the text projection, and
its own rows for the items of its region's windows. Its name is its version (`r0003_v0007`); the tensors of a name
never change once it is registered for serving. Outside `AdapterHost.active` no adapter has an effect on the backbone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters_store.errors import AdapterRefused
from pipeline.config import AdapterSettings
from pipeline.events.windows import PADDING
from pipeline.models.backbones.base import BLOCK, Backbone, last_states
from pipeline.models.injected import InjectedItems
from pipeline.models.item_writing import write_items
from pipeline.models.lora.peft_slot import ROWS, Adapter, PeftSlot
from pipeline.models.lora.tensors import difference
from pipeline.models.open_catalogue import OpenCatalogue


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
        self._slot = PeftSlot(backbone, settings, self.targets)
        self._adapters: dict[str, Adapter] = {}
        self._active: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of the registered adapters."""
        return sorted(self._adapters)

    def create(self, name: str, rows: Sequence[int], *, parent: str | None, seed: int) -> None:
        """Register a new adapter: a copy of its parent, or without effect where it has none.

        Args:
            name: not yet registered.
            rows: catalogue rows that it may move, those of the parent included.
            parent: a registered adapter to start from.
            seed: for the initial LoRA factors.
        """
        moved = sorted(set(map(int, rows)) | set(self.rows(parent) if parent else ())) or [0]
        self._keep(name, self._slot.make(moved, seed))
        if parent:
            self._copy(parent, name)

    def register(self, name: str, tensors: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> None:
        """Register an adapter from tensors that `tensors` returned.

        Raises:
            AdapterRefused: `wrong_tensors`, names or shapes do not match this backbone; no adapter is registered.
        """
        expected = self._slot.shapes(len(rows))
        given = {key: value.shape for key, value in tensors.items()}
        if given != expected:
            raise AdapterRefused("wrong_tensors", difference(name, given, expected))
        device = self.backbone.device
        values = {key: torch.tensor(tensors[key], dtype=torch.float32, device=device) for key in expected}
        self._keep(name, Adapter({key: nn.Parameter(value) for key, value in values.items()}, list(rows)))

    def drop(self, name: str) -> None:
        """Remove a registered adapter."""
        self.forget_vectors(name)
        del self._adapters[name]

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
        parameters = self._adapters[name].parameters
        return {key: value.detach().cpu().numpy().copy() for key, value in parameters.items()}

    def rows(self, name: str) -> list[int]:
        """Catalogue rows of which an adapter has its own version."""
        return list(self._adapters[name].rows)

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
        for key, parameter in self._adapters[name].parameters.items():
            if key != ROWS:
                found.setdefault(key.partition(".lora_")[0].removeprefix("base_model.model."), []).append(parameter)
        return found

    def parameter_groups(
        self, name: str, learning_rate: float, row_learning_rate: float, layers: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Make one adapter trainable within `active(name)`.

        Returns:
            Two groups for an optimizer: the low-rank factors, those of the given layers if any are given, and the item
            rows with a separate learning rate.
        """
        self.forget_vectors(name)
        pairs = self.factors(name)
        factors = [factor for layer in pairs if layers is None or layer in layers for factor in pairs[layer]]
        own = self._adapters[name].parameters
        rows = [own[ROWS]] if self.settings.item_rows else []
        for parameter in own.values():
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
        rows, shift = self._shifted(name, items)
        if len(rows):
            logits.index_add_(1, rows, last @ shift.T)
        return logits

    @torch.inference_mode()
    def output_vectors(self, name: str | None) -> Tensor:
        """(items + 1, d) vectors whose products with last states are `logits`, those of injected items included."""
        vectors = self.vectors(name).clone()
        return vectors.index_add_(0, *self._shifted(name, len(vectors) - 1))

    def _shifted(self, name: str | None, items: int) -> tuple[Tensor, Tensor]:
        """(m,) rows up to `items` of injected items that an adapter has no row of its own for, and (m, d) shifts."""
        rows, shift = self.backbone.windows(self._injected_rows), self._shifts()
        selected = (rows != PADDING) & (rows <= items)
        if name is not None:
            selected &= ~torch.isin(rows, torch.tensor(self.rows(name), device=rows.device))
        return rows[selected], shift[selected]

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
        self._slot.show(None if self._active is None else self._adapters[self._active])

    def _keep(self, name: str, adapter: Adapter) -> None:
        if name in self._adapters:
            raise ValueError(f"adapter {name} already exists")
        self._adapters[name] = adapter

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the linear layers that an adapter changes."""
        projection = ("items.projection",) if self.backbone.items.projection is not None else ()
        return (*self.backbone.adapter_targets, *(projection if self.settings.text_projection else ()))

    @torch.no_grad()
    def _copy(self, parent: str, child: str) -> None:
        index_of = {row: i for i, row in enumerate(self.rows(child))}
        shared = torch.tensor([index_of[row] for row in self.rows(parent)], device=self.backbone.device)
        fresh = self._adapters[child].parameters
        for key, value in self._adapters[parent].parameters.items():
            if key == ROWS:
                fresh[key].index_copy_(0, shared, value)
            else:
                fresh[key].copy_(value)


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
