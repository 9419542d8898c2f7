"""Regions in force with their adapters, loaded and verified before a revision takes effect."""

from collections.abc import Mapping
from dataclasses import replace

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Status
from pipeline.regions.revision import Revision


class LiveRegions:
    """The newest revision, and the adapters it needs.

    Attributes:
        bank: the regions.
        host: holds the adapters of the opened regions, and no others.
    """

    def __init__(self, bank: RegionBank, host: AdapterHost, store: AdaptersStore, backbone_sha256: str) -> None:
        self.bank = bank
        self.host = host
        self._store = store
        self._backbone_sha256 = backbone_sha256

    def apply(self, revision: Revision) -> None:
        """Apply a revision; adapters are loaded and verified before anything changes.

        Raises:
            AdapterRefused: a version is damaged or does not fit; regions and adapters stay as they were.
        """
        registered: list[str] = []
        try:
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

        The last good adapter of a region replaces a refused one, or the backbone where it has none.

        Returns:
            The reasons for which adapters were refused, for the caller to count.
        """
        refused: dict[str, AdapterRefused] = {}
        for name in self._wanted(revision):
            try:
                self._register(name)
            except AdapterRefused as refusal:
                refused[name] = refusal
        last = {r.region_id: r.adapter for r in self.bank.regions}
        bank = revision.after(self.bank)
        failed = [replace(r, adapter=last.get(r.region_id)) for r in bank.regions if r.adapter in refused]
        self._take_over(bank.changed(*failed))
        return list(refused.values())

    def _wanted(self, revision: Revision) -> list[str]:
        """Names of the adapters that a revision needs and the host lacks."""
        names = dict.fromkeys(r.adapter for r in revision.regions if r.status is Status.LIVE)
        return [name for name in names if name and name not in self.host.names]

    def _register(self, name: str) -> None:
        loaded = self._store.load(name, backbone_sha256=self._backbone_sha256)
        self.host.register(name, loaded.tensors, rows_of(name, loaded.config))

    def _take_over(self, bank: RegionBank) -> None:
        self.bank = bank
        for name in set(self.host.names) - set(bank.adapters):
            self.host.drop(name)


def rows_of(name: str, config: Mapping[str, object]) -> list[int]:
    """Catalogue rows with an item row of their own in an adapter version, from its configuration.

    Raises:
        AdapterRefused: `bad_config`, the configuration does not list them.
    """
    rows = config.get("rows")
    if not isinstance(rows, list):
        raise AdapterRefused("bad_config", f"{name}: its configuration does not list the item rows it moves")
    return [int(row) for row in rows]
