"""Regions and adapters in force, and those of older revisions: loaded beside, activated between batches.

A revision comes in three steps. *Prepare* reads and verifies new adapter versions while requests go on; what is
refused is counted, and the last good version of that region goes on answering (the backbone, where there is
none). *Activate* swaps one reference between two batches. Then what no view needs any more is freed.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import RLock

from adapters_store import AdaptersStore
from consumers.revisions import after_revision, rows_of
from pipeline.errors import AdapterRefused, StoreError
from pipeline.logs.base import Log, Record
from pipeline.logs.topics import REGIONS
from pipeline.regions import Region, Status
from pipeline.routing import RegionBank
from pipeline.serving.forward import MixedForward

KEPT_VIEWS = 4
"""Older revisions that stay loaded after somebody asked for them."""


@dataclass(frozen=True)
class View:
    """What requests are answered with; never changed.

    Attributes:
        bank: the regions, each with the adapter that answers for it.
        revision: offset of the newest record of `regions` in it, -1 for set-up.
        fallen: region_id -> version in the log that was refused, for the last good one answers.
    """

    bank: RegionBank
    revision: int
    fallen: Mapping[int, str]


class Live:
    """The view in force.

    Args:
        setup_bank: the regions before any revision.
        forward: holds the adapters of all views, and no others.
        store: where versions are.
        backbone_sha256: of the backbone that they must fit.

    Attributes:
        refusals: reason -> how many adapters were refused for it.
    """

    def __init__(
        self, setup_bank: RegionBank, forward: MixedForward, store: AdaptersStore, backbone_sha256: str
    ) -> None:
        self.forward = forward
        self.refusals: Counter[str] = Counter()
        self._setup_bank = setup_bank
        self._store = store
        self._backbone_sha256 = backbone_sha256
        self._logged = setup_bank
        self._pins: dict[int, str] = {}
        self._view = View(setup_bank, -1, {})
        self._older: OrderedDict[int, View] = OrderedDict()
        self._between_batches = RLock()

    @property
    def view(self) -> View:
        """The view in force."""
        return self._view

    @property
    def pins(self) -> Mapping[int, str]:
        """region_id -> version that it is held at."""
        return dict(self._pins)

    @contextmanager
    def batch(self) -> Iterator[View]:
        """The view for a batch: nothing is activated or freed before the batch is done."""
        with self._between_batches:
            yield self._view

    def follow(self, records: Sequence[Record]) -> list[StoreError]:
        """Take new records of `regions` over, and load what the last of them needs.

        Returns:
            Why adapters were refused.
        """
        for record in records:
            if record.value is not None:
                self._logged = after_revision(self._logged, record.value)
        return self._renew(records[-1].offset)

    def pin(self, region_id: int, name: str | None) -> list[StoreError]:
        """Hold a region at a version, or let it follow the log again."""
        if name is None:
            self._pins.pop(region_id, None)
        else:
            self._pins[region_id] = name
        return self._renew(self._view.revision)

    def reload(self) -> list[StoreError]:
        """Try again what was refused."""
        return self._renew(self._view.revision)

    def as_of(self, log: Log, revision: int) -> View:
        """The view as of an older revision; adapters that are gone are answered by the backbone.

        Args:
            log: to read the records from.
            revision: an offset of `regions`; -1 for set-up.
        """
        if revision >= self._view.revision:
            return self._view
        if revision not in self._older:
            bank = self._setup_bank
            for record in log.read(REGIONS, 0, 0, revision + 1):
                if record.value is not None:
                    bank = after_revision(bank, record.value)
            fallen, _ = self._load(bank)
            # A missing adapter is the backbone's: there is no last good one in the past.
            self._older[revision] = View(bank, revision, fallen)
        self._older.move_to_end(revision)
        while len(self._older) > KEPT_VIEWS:
            self._older.popitem(last=False)
        return self._older[revision]

    def _renew(self, offset: int) -> list[StoreError]:
        # Beside: requests go on.
        wanted = self._logged.changed(*self._pinned())
        fallen, refused = self._load(wanted)
        last = {region.region_id: region.adapter for region in self._view.bank.regions}
        good = [replace(wanted[i], adapter=last[i]) for i in fallen if last.get(i) in self.forward.names]
        view = View(wanted.changed(*good), offset, fallen)
        # Between batches.
        with self._between_batches:
            self._view = view
            self._free()
        return refused

    def _pinned(self) -> Iterator[Region]:
        for region in self._logged.regions:
            if region.region_id in self._pins and region.status is Status.LIVE:
                yield replace(region, adapter=self._pins[region.region_id])

    def _load(self, bank: RegionBank) -> tuple[dict[int, str], list[StoreError]]:
        """Load what the live regions of a bank need; return what is refused, and why."""
        fallen: dict[int, str] = {}
        refused: list[StoreError] = []
        for region in bank.live:
            if region.adapter is None or region.adapter in self.forward.names:
                continue
            try:
                loaded = self._store.load(region.adapter, backbone_sha256=self._backbone_sha256)
                self.forward.register(region.adapter, loaded.tensors, rows_of(region.adapter, loaded.config))
            except StoreError as error:
                fallen[region.region_id] = region.adapter
                refused.append(error)
                self.refusals[error.reason if isinstance(error, AdapterRefused) else "unreadable"] += 1
        return fallen, refused

    def _free(self) -> None:
        needed = set(self._adapters(self._view, *self._older.values()))
        for name in set(self.forward.names) - needed:
            self.forward.drop(name)

    @staticmethod
    def _adapters(*views: View) -> Iterable[str]:
        return (region.adapter for view in views for region in view.bank.live if region.adapter)
