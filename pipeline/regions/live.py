"""Regions in force with their adapters and injected items, loaded and verified before a revision takes effect."""

from collections.abc import Collection
from dataclasses import replace

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused
from pipeline.models.injected import InjectedVersions
from pipeline.models.lora.host import AdapterHost
from pipeline.models.lora.moved_items import known_rows, moved_items
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Status
from pipeline.regions.revision import Revision


class LiveRegions:
    """The newest revision, and the adapters it needs.

    Args:
        bank: the regions in force at first.
        host: holds no adapters.
        store: adapter versions.
        backbone_sha256: fingerprint of the backbone that versions must fit.
        catalogue: the items that this process knows.

    Attributes:
        bank: the regions in force.
        host: adapters of the stream regions, and no others.
    """

    def __init__(
        self, bank: RegionBank, host: AdapterHost, store: AdaptersStore, backbone_sha256: str, catalogue: OpenCatalogue
    ) -> None:
        self.bank = bank
        self.host = host
        self._store = store
        self._backbone_sha256 = backbone_sha256
        self._catalogue = catalogue
        self._missing: dict[str, set[str]] = {}
        width = host.backbone.items.rows.weight.shape[1]
        self._injected = InjectedVersions(store, backbone_sha256, width)

    def follow(self, catalogue: OpenCatalogue, freed: Collection[int] = ()) -> None:
        """Take over changes of the catalogue.

        Adapters lose their rows for items that were evicted, and get them for items that have come since.

        Args:
            catalogue: the items.
            freed: rows of evicted items; other items may have them already.

        Raises:
            AdapterRefused: an adapter that has to be loaded again is damaged by now.
        """
        self._catalogue = catalogue
        self.host.follow(catalogue)
        for name in self.host.names:
            missing = self._missing.get(name, set())
            if not catalogue.row_of.keys().isdisjoint(missing) or not set(freed).isdisjoint(self.host.rows(name)):
                self.host.drop(name)
                self._register(name)

    def apply(self, revision: Revision) -> None:
        """Apply a revision; adapters are loaded and verified before anything changes.

        Raises:
            AdapterRefused: a version is damaged or does not fit; regions and adapters stay as they were.
        """
        registered: list[str] = []
        try:
            self._inject(revision)
            for name in self._wanted(revision):
                self._register(name)
                registered.append(name)
        except AdapterRefused:
            for name in registered:
                self.host.drop(name)
            raise
        self._take_over(revision.after(self.bank))

    def apply_with_fallback(self, revision: Revision) -> list[AdapterRefused]:
        """Apply a revision even where adapters are refused: boundaries never lag behind the log.

        The last good adapter of a region replaces a refused one, or the backbone where it has none any more; the
        injected items of before stay where a version of them is refused.

        Returns:
            The reasons for which adapters were refused, for the caller to count.
        """
        refused: dict[str, AdapterRefused] = {}
        try:
            self._inject(revision)
        except AdapterRefused as refusal:
            refused["injected items"] = refusal
            revision = replace(revision, injection=self.bank.injection)
        for name in self._wanted(revision):
            try:
                self._register(name)
            except AdapterRefused as refusal:
                refused[name] = refusal
        last = {r.region_id: r.adapter for r in self.bank.regions if r.adapter not in revision.destroyed}
        bank = revision.after(self.bank)
        failed = [replace(r, adapter=last.get(r.region_id)) for r in bank.regions if r.adapter in refused]
        self._take_over(bank.changed(*failed))
        return list(refused.values())

    def _inject(self, revision: Revision) -> None:
        if revision.injection is not None:
            self.host.inject(self._injected.load(revision.injection.names), self._catalogue.row_of)

    def _wanted(self, revision: Revision) -> list[str]:
        """Names of the adapters that a revision needs and the host lacks."""
        names = dict.fromkeys(r.adapter for r in revision.regions if r.status is Status.LIVE)
        return [name for name in names if name and name not in self.host.names]

    def _register(self, name: str) -> None:
        loaded = self._store.load(name, backbone_sha256=self._backbone_sha256)
        items = moved_items(name, loaded.config, self._catalogue.setup.item_ids)
        moved = known_rows(loaded.tensors, items, self._catalogue.row_of)
        self.host.register(name, moved.tensors, moved.rows)
        self._missing[name] = moved.missing

    def _take_over(self, bank: RegionBank) -> None:
        self.bank = bank
        for name in set(self.host.names) - set(bank.adapters):
            self.host.drop(name)
            self._missing.pop(name, None)
