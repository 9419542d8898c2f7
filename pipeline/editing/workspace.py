"""Workspace of an edit: its items, windows and adapters, in rows that depend on the edit and the regions alone.

The rows are those of set-up, followed by the other items of the adapters in force and of the edit's windows, by id. So
the same edit gives the same adapter in every process, whatever other items that process has come to know.
"""

from collections.abc import Callable, Sequence

import numpy as np

from adapters_store import AdaptersStore
from pipeline.events.edit import Edit, Evidence, Operation
from pipeline.events.existence import Existence
from pipeline.events.gated import GatedEvent
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.events.windows import Windows, no_earlier
from pipeline.models.injected import InjectedItems, InjectedVersions
from pipeline.models.lora.host import AdapterHost
from pipeline.models.lora.moved_items import known_rows, moved_items
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text import TextEncoder
from pipeline.regions.bank import RegionBank
from pipeline.setup.artifacts import SetUp

EventsOf = Callable[[Sequence[Evidence]], Sequence[GatedEvent]]
"""Reads the events of evidence back from `gated`, in order of offsets."""

ItemOf = Callable[[str], Item | None]
"""Looks up the record of an item; None for one known by its id alone."""


class Workspace:
    """Items, windows and adapters of one edit after the other.

    Args:
        setup: backbone and items that every edit starts from.
        host: of the set-up's backbone; it holds the adapters of the edit that was prepared last.
        store: adapter versions.
        encoder: of texts of items beyond set-up.
        item_of: looks up these texts.
        events_of: reads evidence.
        length: items of a window.

    Attributes:
        host: as given.
        catalogue: items of the edit.
    """

    def __init__(
        self,
        setup: SetUp,
        host: AdapterHost,
        store: AdaptersStore,
        encoder: TextEncoder | None,
        item_of: ItemOf,
        events_of: EventsOf,
        length: int,
    ) -> None:
        self.host = host
        self.catalogue = OpenCatalogue(setup.catalogue, encoder)
        self._setup, self._store, self._encoder, self._length = setup, store, encoder, length
        self._item_of, self._events_of = item_of, events_of
        self._items: Sequence[str] = ()
        self._width = setup.backbone.items.rows.weight.shape[1]
        self._injected = InjectedVersions(store, setup.backbone_sha256, self._width)

    @property
    def existence(self) -> Existence:
        """Every item of the edit, for each window."""
        return Existence.of_all(self.catalogue.rows)

    def prepare(self, edit: Edit, bank: RegionBank) -> None:
        """Make the rows of an edit, and load the adapters of the regions in force.

        Raises:
            AdapterRefused: an adapter is damaged or does not fit.
            RecordsLostError: windows of the edit are deleted from the log.
        """
        # No adapter has a part in an Inject.
        regions = () if edit.operation is Operation.INJECT else bank.live
        names = dict.fromkeys(region.adapter for region in regions if region.adapter)
        loaded = {name: self._store.load(name, backbone_sha256=self._setup.backbone_sha256) for name in names}
        known = self._setup.catalogue.item_ids
        moved = {name: moved_items(name, adapter.config, known) for name, adapter in loaded.items()}
        events = self._events_of([*edit.windows, *edit.samples])
        items = {item for event in events for item in (*event.window, event.target)}
        self._fill(sorted(items.union(edit.items, *moved.values()) - {""}))
        if edit.operation is not Operation.INJECT:
            self.host.inject(self.injected(bank), self.catalogue.row_of)
        for name, adapter in loaded.items():
            rows = known_rows(adapter.tensors, moved[name], self.catalogue.row_of)
            self.host.register(name, rows.tensors, rows.rows)

    def clear(self) -> None:
        """Go back to the items of set-up, with the texts of set-up, and to no adapters."""
        self._fill(())

    def injected(self, bank: RegionBank) -> InjectedItems:
        """Injected items in force.

        Raises:
            AdapterRefused: one of their versions is damaged or does not fit.
        """
        return self._injected.load(bank.injection.names)

    def windows_of(self, evidence: Sequence[Evidence]) -> Windows:
        """Windows of evidence of the prepared edit, in order of offsets."""
        events = self._events_of(evidence)
        contexts, since_setup = self.catalogue.contexts([event.history for event in events], self._length)
        return Windows(
            contexts,
            np.array([self.catalogue.row_of[event.target] for event in events], dtype=np.int64),
            np.array([event.user_id for event in events], dtype=np.str_),
            np.array([event.event_id for event in events], dtype=np.str_),
            np.array([event.timestamp for event in events], dtype=np.float64),
            since_setup,
            np.arange(len(events)),
            no_earlier(len(events)),
        )

    def _fill(self, items: Sequence[str]) -> None:
        """Replace catalogue and adapters by those of an edit without adapters."""
        for name in self.host.names:
            self.host.drop(name)
        self.host.inject(InjectedItems.none(self._width), {})
        # Items of set-up get the texts of set-up back: this edit may not know the later ones.
        self.catalogue.evict(self._items)
        self.host.follow(self.catalogue)
        self._items = items
        self.catalogue = OpenCatalogue(self._setup.catalogue, self._encoder)
        for item_id in items:
            item = self._item_of(item_id)
            if item is not None:
                self.catalogue.describe(item, WHEN_TAKEN)
            self.catalogue.add(item_id)
        self.host.follow(self.catalogue)
