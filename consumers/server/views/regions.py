"""Regions and adapters in force, and those of older revisions: loaded in the background, activated between batches.

A revision is applied in three steps. *Prepare* reads and verifies new adapter versions while requests are served;
refused versions are counted, and the last good version of the region stays (the backbone, where there is none).
*Activate* swaps one reference between two batches. Then versions that no view needs any more are freed.

A revision whose arrays are in a file that is missing or damaged waits, and those after it: the regions before it stay
in force until the file is back. It is read again with the next revision, and at each reload.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import RLock
from typing import NamedTuple

import torch

from adapters_store import AdaptersStore, ArrayFiles
from adapters_store.errors import AdapterRefused, StoreError
from consumers.runtime.malformed import OnSkipped, unreported
from consumers.server.views.region_history import RegionHistory
from pipeline.errors import LogError
from pipeline.models.injected import InjectedItems, InjectedVersions
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.moved_items import Tensors, known_rows, moved_items
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.canary import Canary
from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import Injection
from pipeline.regions.region import Status
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import REGIONS

KEPT_VIEWS = 4
"""Number of older revisions that stay loaded after a request for them."""


@dataclass(frozen=True)
class View:
    """Immutable regions and canaries that requests are scored with.

    Attributes:
        bank: the regions, each with its loaded adapter.
        revision: offset of the newest record of `regions` in it, -1 for set-up.
        failed: region_id -> version of the log that was refused; the last good one replaces it.
        canaries: region_id -> trial under way; both of its versions are loaded.
    """

    bank: RegionBank
    revision: int
    failed: Mapping[int, str]
    canaries: Mapping[int, Canary]


@dataclass(frozen=True)
class AdapterMemory:
    """Adapters in memory.

    Attributes:
        registered: number of loaded versions.
        active: number of those in a slot, ready for a pass.
        bytes: memory of both, slots included.
        evictions: number of versions that had to leave their slot so far.
    """

    registered: int
    active: int
    bytes: int
    evictions: int


class ServedRegions:
    """Regions that a server answers with: the view in force, and views of older revisions.

    Args:
        setup_bank: the regions before any revision.
        forward: holds the adapters of all views, and no others.
        store: adapter versions.
        backbone_sha256: fingerprint of the backbone that versions must fit.
        catalogue: items by row.

    Attributes:
        forward: as given.
        refusals: reason -> number of adapters refused for it.
    """

    def __init__(
        self,
        setup_bank: RegionBank,
        forward: BatchedForward,
        store: AdaptersStore,
        backbone_sha256: str,
        catalogue: OpenCatalogue,
    ) -> None:
        self.forward = forward
        self.refusals: Counter[str] = Counter()
        self._setup = RegionHistory(setup_bank)
        self._store = store
        self._backbone_sha256 = backbone_sha256
        self._catalogue = catalogue
        self._moved: dict[str, frozenset[str]] = {}
        width = forward.vectors.shape[1]
        self._versions, self._injected = InjectedVersions(store, backbone_sha256, width), InjectedItems.none(width)
        self._logged, self._logged_offset = self._setup, -1
        self._waiting: list[Record] = []
        self._pins: dict[int, str] = {}
        self._view = View(setup_bank, -1, {}, {})
        self._older: OrderedDict[int, View] = OrderedDict()
        self._between_batches = RLock()

    @property
    def view(self) -> View:
        """The view in force."""
        return self._view

    @property
    def pins(self) -> Mapping[int, str]:
        """Pinned regions: region_id -> version."""
        return dict(self._pins)

    @property
    def adapters(self) -> Collection[str]:
        """Names of the loaded versions."""
        return self.forward.names

    def adapter_memory(self) -> AdapterMemory:
        """Number and size of the adapters in memory."""
        slots = self.forward.slots
        return AdapterMemory(len(slots.names), len(slots.active), slots.bytes, slots.evictions)

    @contextmanager
    def batch(self) -> Iterator[View]:
        """Hold the view for a batch: nothing is activated or freed before the batch is done."""
        with self._between_batches:
            yield self._view

    @contextmanager
    def between_batches(self) -> Iterator[None]:
        """Keep batches out: what they read may change."""
        with self._between_batches:
            yield

    def follow(self, item_ids: Collection[str]) -> list[StoreError]:
        """Load the adapters again that move one of these items, which have got a row or another text.

        Returns:
            The reasons for which adapters were refused; they stay as they are, without rows for these items.
        """
        refused: list[StoreError] = []
        changed = set(item_ids)
        for name in [name for name, moved in list(self._moved.items()) if not moved.isdisjoint(changed)]:
            try:
                tensors, rows = self._read(name)
            except StoreError as error:
                self._count(error)
                refused.append(error)
                continue
            with self._between_batches:
                if self.forward.drop(name):
                    self.forward.register(name, tensors, rows)
        return refused

    def inject_changed(self, rows: Iterable[int]) -> None:
        """Let injected items follow catalogue rows whose items or texts have changed; between batches.

        The model's tables have followed them already.
        """
        ids, place_of = self._catalogue.ids, self._injected.place_of
        known = [row for row in rows if ids[row] in place_of]
        vectors = self._injected.vectors[[place_of[ids[row]] for row in known]]
        self.forward.inject_more(known, torch.from_numpy(vectors))

    def apply(self, records: Sequence[Record], on_skipped: OnSkipped) -> list[StoreError]:
        """Apply new records of `regions`, and load the adapters that the last of them needs.

        Args:
            records: one or more, in order.
            on_skipped: called with each record that cannot be read; it changes nothing.

        Returns:
            The reasons for which files of the store were refused.
        """
        self._waiting += records
        return self._take_waiting(on_skipped)

    def pin(self, region_id: int, name: str | None) -> list[StoreError]:
        """Pin a region to a version, or return it to the version of the log (None)."""
        if name is None:
            self._pins.pop(region_id, None)
        else:
            self._pins[region_id] = name
        return self._renew(self._view.revision)

    def reload(self, on_skipped: OnSkipped) -> list[StoreError]:
        """Read refused files again; see `apply`."""
        return self._take_waiting(on_skipped)

    def as_of(self, log: Log, revision: int) -> View:
        """Build the view as of an older revision; the backbone replaces adapters that are gone.

        Args:
            log: source of the records.
            revision: an offset of `regions`; -1 for set-up. Injected items are those in force.

        Returns:
            The view; where a file of arrays is missing or damaged by now, as of the revision before it.
        """
        if revision >= self._view.revision:
            return self._view
        if revision not in self._older:
            # Skipped records were reported when they were applied.
            read = _read(self._setup, log.read(REGIONS, 0, 0, revision + 1), self._store.arrays, unreported)
            failed, _ = self._load(read.history)
            # No last good version is searched for: the backbone replaces a missing adapter.
            as_of = revision if read.refused is None else read.offset
            view = View(read.history.bank, as_of, failed, self._on_trial(read.history))
            if read.refused is not None:
                return view
            self._older[revision] = view
        self._older.move_to_end(revision)
        while len(self._older) > KEPT_VIEWS:
            self._older.popitem(last=False)
        return self._older[revision]

    def _take_waiting(self, on_skipped: OnSkipped) -> list[StoreError]:
        """Apply waiting records up to the first one whose arrays cannot be read; load the adapters of the last."""
        read = _read(self._logged, self._waiting, self._store.arrays, on_skipped)
        if read.history.destroyed != self._logged.destroyed:
            # They hold destroyed versions in memory.
            self._older.clear()
        self._logged, self._logged_offset = read.history, max(self._logged_offset, read.offset)
        self._waiting = [record for record in self._waiting if record.offset > self._logged_offset]
        if read.refused is None:
            return self._renew(self._logged_offset)
        self._count(read.refused)
        return [read.refused, *self._renew(self._logged_offset)]

    def _renew(self, offset: int) -> list[StoreError]:
        # In the background: requests are served meanwhile.
        wanted = self._wanted()
        failed, refused = self._load(wanted)
        injection, injected = self._load_injected(wanted.bank.injection, refused)
        last = {region.region_id: region.adapter for region in self._view.bank.regions}
        last |= {canary.region_id: canary.incumbent for canary in wanted.canaries.values()}
        usable = set(self.forward.names) - wanted.destroyed
        good = [replace(wanted.bank[i], adapter=last[i]) for i in failed if last.get(i) in usable]
        bank = replace(wanted.bank.changed(*good), injection=injection)
        view = View(bank, offset, failed, self._on_trial(wanted))
        # Between batches.
        with self._between_batches:
            self._view = view
            if injected is not self._injected:
                self._injected = injected
                rows, vectors = injected.known(self._catalogue.row_of)
                self.forward.inject(rows, torch.from_numpy(vectors))
            self._free()
        return refused

    def _wanted(self) -> RegionHistory:
        """Regions and canaries of the log, with pinned versions in place; a pinned region is on no trial.

        A pin to a version that was destroyed holds nothing.
        """
        logged = self._logged
        pins = {i: name for i, name in self._pins.items() if name not in logged.destroyed}
        live = (region for region in logged.bank.regions if region.status is Status.LIVE)
        pinned = [replace(r, adapter=pins[r.region_id]) for r in live if r.region_id in pins]
        canaries = {i: canary for i, canary in logged.canaries.items() if i not in pins}
        return RegionHistory(logged.bank.changed(*pinned), canaries, logged.destroyed)

    def _on_trial(self, logged: RegionHistory) -> Mapping[int, Canary]:
        """Trials with both versions loaded; without one of them, all users get the other."""
        names = self.forward.names
        return {i: c for i, c in logged.canaries.items() if c.adapter in names and c.incumbent in names}

    def _load(self, logged: RegionHistory) -> tuple[dict[int, str], list[StoreError]]:
        """Load the versions of regions and trials; return the refused ones by region, and the reasons."""
        failed: dict[int, str] = {}
        refused: list[StoreError] = []
        incumbents = [canary.incumbent for canary in logged.canaries.values()]
        for region_id, name in [(r.region_id, r.adapter) for r in logged.bank.live] + [(None, i) for i in incumbents]:
            if name is None or name in self.forward.names:
                continue
            try:
                self.forward.register(name, *self._read(name))
            except StoreError as error:
                refused.append(error)
                self._count(error)
                if region_id is not None:
                    failed[region_id] = name
        return failed, refused

    def _load_injected(self, wanted: Injection, refused: list[StoreError]) -> tuple[Injection, InjectedItems]:
        """Load injected items; where a version is refused, which is noted, those in force stay."""
        now = self._view.bank.injection
        if wanted != now:
            try:
                return wanted, self._versions.load(wanted.names)
            except StoreError as error:
                refused.append(error)
                self._count(error)
        return now, self._injected

    def _read(self, name: str) -> tuple[Tensors, list[int]]:
        """Load a version: its tensors for the items that have rows now, and these rows.

        The thread that changes the catalogue calls it, or one between whose batches the catalogue changes: the rows are
        still right when the version is registered.

        Raises:
            StoreError: it is refused, or cannot be read.
        """
        loaded, setup = self._store.load(name, backbone_sha256=self._backbone_sha256), self._catalogue.setup
        items = moved_items(name, loaded.config, setup.item_ids)
        # Rows of set-up never go to other items.
        self._moved[name] = frozenset(item for item in items if item and item not in setup.row_of)
        moved = known_rows(loaded.tensors, items, self._catalogue.row_of)
        return moved.tensors, moved.rows

    def _count(self, refusal: StoreError) -> None:
        self.refusals[refusal.reason if isinstance(refusal, AdapterRefused) else "unreadable"] += 1

    def _free(self) -> None:
        needed = set(self._adapters_of(self._view, *self._older.values()))
        for name in set(self.forward.names) - needed:
            self.forward.drop(name)
        self._moved = {name: moved for name, moved in self._moved.items() if name in needed}

    @staticmethod
    def _adapters_of(*views: View) -> Iterator[str]:
        for view in views:
            yield from (region.adapter for region in view.bank.live if region.adapter)
            yield from (canary.incumbent for canary in view.canaries.values())


class _Read(NamedTuple):
    """Records of `regions` that were read.

    Attributes:
        history: regions and trials after them.
        offset: of the last one, -1 for none.
        refused: the reason for which the next one was not read, or None.
    """

    history: RegionHistory
    offset: int
    refused: StoreError | None


def _read(history: RegionHistory, records: Iterable[Record], files: ArrayFiles, on_skipped: OnSkipped) -> _Read:
    """Read records up to one whose arrays are refused; one that is no revision changes nothing."""
    offset = -1
    for record in records:
        try:
            history = history.after([record], files)
        except LogError as error:
            on_skipped(record, error)
        except StoreError as error:
            return _Read(history, offset, error)
        offset = record.offset
    return _Read(history, offset, None)
