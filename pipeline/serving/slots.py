"""Which adapters are known, and which are ready to answer: *registered* on the host, *active* in a slot.

What is registered costs what its factors cost. What is active has a slot: a row in a table of factors, from which a
pass gathers those of all its rows at once, and two things for the whole catalogue: which items it moved, and its
text projection applied to every text, r numbers an item. There are as many slots as a budget of memory allows, and
the least recently used makes room.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.serving.factors import Factors, Layout, views


@dataclass(frozen=True)
class Active:
    """An adapter in a slot.

    Attributes:
        factors: what it changes.
        slot: its row of what all active adapters have together.
        texts: (items + 1, r) every item's text times A' of its text projection; no column without text.
    """

    factors: Factors
    slot: int
    texts: Tensor


class AdapterSlots:
    """Adapters of one backbone by name; a name always means the same weights.

    Args:
        layout: of the adapters.
        texts: (items + 1, text dimensions) text embeddings of the catalogue.
        budget: bytes that the slots may take; one adapter is always possible.

    Attributes:
        table: (slots, layout.size) packed factors of the active adapters.
        moved: (slots, items + 1) which of its moved rows an item is to an active adapter, or -1.
        evictions: how often an active adapter had to make room.
    """

    def __init__(self, layout: Layout, texts: Tensor, budget: int) -> None:
        self._layout = layout
        self._texts = texts.T.contiguous()
        self._registered: dict[str, Factors] = {}
        self._active: OrderedDict[str, Active] = OrderedDict()
        width = layout.rank if layout.text is not None else 0
        self._slot_bytes = (layout.size + (width + 1) * len(texts)) * 4
        slots = max(1, budget // self._slot_bytes)
        # The system gives memory to the rows that are ever written, whatever the budget.
        self.table = torch.empty(slots, layout.size)
        self.moved = torch.empty(slots, len(texts), dtype=torch.int32)
        self._free = list(range(slots))
        self.evictions = 0

    @property
    def names(self) -> Collection[str]:
        """Registered adapters."""
        return self._registered.keys()

    @property
    def active(self) -> list[str]:
        """Adapters in a slot, the least recently used first."""
        return list(self._active)

    @property
    def bytes(self) -> int:
        """Memory of all that is registered and active."""
        return sum(factors.bytes for factors in list(self._registered.values())) + self._slot_bytes * len(self._active)

    def register(self, name: str, factors: Factors) -> bool:
        """Make an adapter known; return whether it was not before."""
        if name in self._registered:
            return False
        self._registered[name] = factors
        return True

    def drop(self, name: str) -> bool:
        """Forget an adapter; return whether it was known."""
        dropped = self._active.pop(name, None)
        if dropped is not None:
            # A pass that goes on elsewhere may still read this slot: it is written when the next one begins.
            self._free.append(dropped.slot)
        return self._registered.pop(name, None) is not None

    def passes(self, names: Sequence[str]) -> Iterator[list[str]]:
        """Split distinct names into runs that fit the slots together."""
        for start in range(0, len(names), len(self.table)):
            yield list(names[start : start + len(self.table)])

    def activate(self, names: Sequence[str]) -> list[Active]:
        """Bring registered adapters into slots, at most as many as fit, and return them in order."""
        for name in names:
            if name in self._active:
                self._active.move_to_end(name)
        for name in names:
            if name not in self._active:
                self._make_room()
                self._active[name] = self._load(self._registered[name])
        return [self._active[name] for name in names]

    def _make_room(self) -> None:
        if not self._free:
            _, oldest = self._active.popitem(last=False)
            self._free.append(oldest.slot)
            self.evictions += 1

    def _load(self, factors: Factors) -> Active:
        slot = self._free.pop()
        self.table[slot] = factors.packed
        self.moved[slot] = -1
        self.moved[slot, factors.rows] = torch.arange(len(factors.rows), dtype=torch.int32)
        if self._layout.text is None:
            return Active(factors, slot, self._texts[:0].T)
        a, _ = views(factors.packed, self._layout.text, self._layout.rank)
        return Active(factors, slot, (a @ self._texts).T)
