"""Cache of adapters: *registered* in memory, *active* in a slot of the tables that a pass reads.

A registered adapter takes the memory of its factors. An active one also has rows of tables that a pass reads for all
its rows at once: factors, moved item rows, and for the whole catalogue the index of moved items and its text projection
applied to every text, r numbers an item. A memory budget bounds the active adapters; the least recently used one is
evicted.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import torch
from torch import Tensor

from pipeline.models.lora.factors import Factors, Layout, views
from pipeline.models.lora.item_deltas import MovedItems
from pipeline.models.lora.sparse import whole_lines
from pipeline.models.lora.widening import widened, with_slack
from pipeline.models.text_vectors import BLOCK


@dataclass(frozen=True)
class Active:
    """An adapter in a slot.

    Attributes:
        slot: its row of the tables.
        moved: (2, m) catalogue rows that it moved, and the rows of their moves in the table (see `MovedItems`).
        bytes: memory that it takes.
    """

    slot: int
    moved: Tensor
    bytes: int


class AdapterSlots:
    """Adapters of one backbone by name; a name always denotes the same weights.

    Args:
        layout: layout of the adapters.
        texts: (items + 1, text dimensions) text embeddings of the catalogue, float32 or float16.
        width: width of an item vector.
        budget: bytes that active adapters may take; one adapter is always possible, also where the catalogue grew.

    Attributes:
        layout: as given.
        table: (slots, layout.size) packed factors of the active adapters.
        texts: (slots, r, items + 1 or more) A of their text projections times every item's text; r is 0 without text.
        moved: moves of their item rows.
        evictions: number of active adapters evicted so far.
    """

    def __init__(self, layout: Layout, texts: Tensor, width: int, budget: int) -> None:
        self.layout, self._budget = layout, budget
        self._items = len(texts)
        padded = whole_lines(self._items)
        self._texts = texts
        self._registered: dict[str, Factors] = {}
        self._active: OrderedDict[str, Active] = OrderedDict()
        rank = layout.rank if layout.text is not None else 0
        self._slot_bytes = (layout.size + (rank + 1) * padded) * 4
        slots = max(1, budget // self._slot_bytes)
        # The system allocates memory for the rows that are written, whatever the budget.
        self.table = texts.new_empty(slots, layout.size, dtype=torch.float32)
        self.texts = texts.new_empty(slots, rank, padded, dtype=torch.float32)
        self.moved = MovedItems(slots, padded, width, max(padded, budget // (4 * width)), texts.device)
        self._read = self._scored = texts.new_zeros(0, width, dtype=torch.float32)
        self._free = list(range(slots))
        # One thread drops adapters while another one activates some.
        self._lock = Lock()
        self.evictions = 0

    @property
    def names(self) -> Collection[str]:
        """Names of the registered adapters."""
        return self._registered.keys()

    @property
    def active(self) -> list[str]:
        """Names of the active adapters, the least recently used first."""
        return list(self._active)

    @property
    def bytes(self) -> int:
        """Bytes of all registered and active adapters."""
        return sum(factors.bytes for factors in list(self._registered.values())) + self._active_bytes()

    def factors(self, name: str) -> Factors:
        """Factors and moves of a registered adapter."""
        return self._registered[name]

    def register(self, name: str, factors: Factors) -> bool:
        """Register an adapter; return False where its name was registered before."""
        if name in self._registered:
            return False
        self._registered[name] = factors
        return True

    def drop(self, name: str) -> bool:
        """Remove an adapter; return False where its name was not registered."""
        with self._lock:
            dropped = self._active.pop(name, None)
            if dropped is not None:
                # A pass in another thread may still read its rows: they are overwritten when the next pass begins.
                self._free_slot(dropped)
            return self._registered.pop(name, None) is not None

    def set_items(self, texts: Tensor, changed: Tensor) -> None:
        """Follow a catalogue that changed.

        Args:
            texts: (items + 1, text dimensions) text embeddings of the catalogue, not fewer than before.
            changed: (m,) rows whose text changed, all new ones among them.
        """
        with self._lock:
            self._items = len(texts)
            if self._items > self.texts.shape[2]:
                self._widen(with_slack(self._items))
            self._texts = texts
            if self.layout.text is not None:
                a, _ = views(self.table, self.layout.text, self.layout.rank)
                slots = torch.tensor(
                    [active.slot for active in self._active.values()], dtype=torch.int64, device=changed.device
                )
                self.texts[slots.unsqueeze(1), :, changed] = (a[slots] @ texts[changed].float().T).mT

    def rescore(self, read: Tensor, scored: Tensor, changed: Tensor) -> None:
        """Follow item vectors of the backbone, of which those that score may be others than those that are read.

        Args:
            read: (items + 1 or more, d) vectors that windows are read with.
            scored: vectors that score, `read` itself where no item is injected.
            changed: (m,) rows in which either changed since the last call.
        """
        with self._lock:
            self._read, self._scored = read, scored
            if scored is read and self.moved.tables == 1:
                return
            everywhere = self.moved.split()
            for name, active in self._active.items():
                factors = self._registered[name]
                affected = torch.isin(factors.rows, factors.rows if everywhere else changed)
                if affected.any():
                    self.moved.rescore(active.moved[:, affected], self._scoring_moves(factors)[affected])

    def _scoring_moves(self, factors: Factors) -> Tensor:
        """(m, d) moves of an adapter's own rows from the vectors that score."""
        if self._scored is self._read:
            return factors.moves
        return factors.moves - (self._scored[factors.rows] - self._read[factors.rows])

    def forget_moves(self, rows: Tensor) -> None:
        """Drop what any adapter moved in (m,) catalogue rows that now are of other items."""
        with self._lock:
            for name, factors in list(self._registered.items()):
                forgotten = torch.isin(factors.rows, rows)
                if forgotten.any():
                    self._registered[name] = factors.without(forgotten)
                    if name in self._active:
                        self._forget(name, forgotten)

    def _forget(self, name: str, forgotten: Tensor) -> None:
        active = self._active[name]
        moved = self.moved.forget(active.slot, active.moved, forgotten)
        self._active[name] = replace(active, moved=moved, bytes=self._bytes_of(name))

    def passes(self, names: Sequence[str]) -> Iterator[list[str]]:
        """Split distinct names into runs that fit the budget together."""
        run: list[str] = []
        left = self._budget
        for name in names:
            left -= self._bytes_of(name)
            if run and left < 0:
                yield run
                run, left = [], self._budget - self._bytes_of(name)
            run.append(name)
        if run:
            yield run

    def activate(self, names: Sequence[str]) -> list[Active]:
        """Load registered adapters into slots, at most as many as fit, and return them in order."""
        with self._lock:
            for name in names:
                if name in self._active:
                    self._active.move_to_end(name)
            for name in names:
                if name not in self._active:
                    self._make_room(self._bytes_of(name))
                    self._active[name] = self._load(name)
            return [self._active[name] for name in names]

    def _bytes_of(self, name: str) -> int:
        """Bytes of an adapter once it is active."""
        factors = self._registered[name]
        return self._slot_bytes + self.moved.tables * factors.moves.nbytes + 2 * 4 * len(factors.rows)

    def _active_bytes(self) -> int:
        return sum(active.bytes for active in list(self._active.values()))

    def _make_room(self, needed: int) -> None:
        while self._active and self._active_bytes() + needed > self._budget:
            _, oldest = self._active.popitem(last=False)
            self._free_slot(oldest)
            self.evictions += 1

    def _free_slot(self, active: Active) -> None:
        self._free.append(active.slot)
        self.moved.give_back(active.moved)

    def _widen(self, padded: int) -> None:
        """Make room for `padded` items, padding included; what no longer fits the budget is evicted."""
        self._slot_bytes = (self.layout.size + (self.texts.shape[1] + 1) * padded) * 4
        for name, active in list(self._active.items()):
            self._active[name] = replace(active, bytes=self._bytes_of(name))
        self._make_room(0)
        slots = [active.slot for active in self._active.values()]
        self.texts = widened(self.texts, padded, slots, 0.0)
        self.moved.widen(padded, slots)

    def _load(self, name: str) -> Active:
        factors, slot = self._registered[name], self._free.pop()
        self.table[slot] = factors.packed
        if self.layout.text is not None:
            a, _ = views(factors.packed, self.layout.text, self.layout.rank)
            texts = self.texts[slot]
            for start in range(0, self._items, BLOCK):
                part = slice(start, min(start + BLOCK, self._items))
                torch.mm(a, self._texts[part].float().T, out=texts[:, part])
            texts[:, self._items :] = 0.0
        moved = self.moved.put(slot, factors.rows, factors.moves, self._scoring_moves(factors))
        return Active(slot, moved, self._bytes_of(name))
