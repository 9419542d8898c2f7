"""Which adapters are known, and which are ready to answer: *registered* on the host, *active* in a slot.

What is registered costs what its factors cost. What is active has its text projection applied to the whole
catalogue as well, r numbers an item; the slots hold as many of these as a budget of memory allows, and the
least recently used makes room.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.serving.factors import Factors, Layout, views


@dataclass(frozen=True)
class Active:
    """An adapter in a slot.

    Attributes:
        factors: what it changes.
        texts: (r, items + 1) A of its text projection applied to every item's text; empty without text.
    """

    factors: Factors
    texts: Tensor


class AdapterSlots:
    """Adapters of one backbone by name; a name always means the same weights.

    Args:
        layout: of the adapters.
        texts: (items + 1, text dimensions) text embeddings of the catalogue.
        budget: bytes that the slots may take; one adapter is always possible.

    Attributes:
        evictions: how often an active adapter had to make room.
    """

    def __init__(self, layout: Layout, texts: Tensor, budget: int) -> None:
        self._layout = layout
        self._texts = texts.T.contiguous()
        self._registered: dict[str, Factors] = {}
        self._active: OrderedDict[str, Active] = OrderedDict()
        self._slot_bytes = layout.rank * texts.shape[0] * 4 if layout.text is not None else 0
        self._slots = max(1, budget // self._slot_bytes) if self._slot_bytes else None
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
        self._active.pop(name, None)
        return self._registered.pop(name, None) is not None

    def passes(self, names: Sequence[str]) -> Iterator[list[str]]:
        """Split distinct names into runs that fit the slots together."""
        step = self._slots or max(1, len(names))
        for start in range(0, len(names), step):
            yield list(names[start : start + step])

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
        if self._slots is not None and len(self._active) >= self._slots:
            self._active.popitem(last=False)
            self.evictions += 1

    def _load(self, factors: Factors) -> Active:
        if self._layout.text is None:
            return Active(factors, self._texts[:0])
        a, _ = views(factors.packed, self._layout.text, self._layout.rank)
        return Active(factors, a @ self._texts)
