"""Following `regions`: what is live, loaded and verified before it takes effect."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused
from pipeline.errors import LogError
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_classifier import OriginModel
from pipeline.regions.region import Region, Status
from pipeline.streams.topics import REGIONS


def revision_record(bank: RegionBank, changed: tuple[Region, ...], moved: bool) -> dict[str, Any]:
    """One record of `regions`: the regions that changed, and the boundaries if they moved."""
    return {
        "regions": [region.to_record() for region in changed],
        "origins": bank.origins.to_record() if moved else None,
        "gate_version": bank.gate_version,
    }


def after_revision(bank: RegionBank, revision: Mapping[str, Any]) -> RegionBank:
    """The regions as a record of `regions` leaves them.

    Raises:
        LogError: it is of a version whose gate looked at windows in another way.
    """
    changed = bank.changed(*(Region.from_record(r) for r in revision["regions"]))
    if revision["origins"] is not None:
        changed = replace(changed, origins=_origins(revision["origins"]))
    return replace(changed, gate_version=revision["gate_version"])


def _origins(record: Mapping[str, Any]) -> OriginModel:
    if "coverage" not in record:
        raise LogError(
            f"the boundaries in topic {REGIONS} are of a gate that did not know what was taken since set-up: go on "
            "with the version that wrote them, or begin a new log (log.url, log.prefix)"
        )
    return OriginModel.from_record(record)


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

    def apply(self, revision: Mapping[str, Any]) -> None:
        """Take over a record of `regions`; adapters are loaded and verified before anything changes.

        Raises:
            AdapterRefused: a version is not what it should be; regions and adapters stay as they were.
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
        self._take_over(after_revision(self.bank, revision))

    def follow(self, revision: Mapping[str, Any]) -> list[AdapterRefused]:
        """Take over a record of `regions` whatever became of its adapters: boundaries never fall behind the log.

        A region whose adapter is refused is answered by its last good one, or by the backbone where it has none.

        Returns:
            Why adapters were refused, for the caller to count.
        """
        refused: dict[str, AdapterRefused] = {}
        for name in self._wanted(revision):
            try:
                self._register(name)
            except AdapterRefused as refusal:
                refused[name] = refusal
        last = {r.region_id: r.adapter for r in self.bank.regions}
        bank = after_revision(self.bank, revision)
        fallen = [replace(r, adapter=last.get(r.region_id)) for r in bank.regions if r.adapter in refused]
        self._take_over(bank.changed(*fallen))
        return list(refused.values())

    def _wanted(self, revision: Mapping[str, Any]) -> list[str]:
        """Names of the adapters that a revision needs and the host has not."""
        names = dict.fromkeys(r["adapter"] for r in revision["regions"] if r["status"] == Status.LIVE)
        return [name for name in names if name and name not in self.host.names]

    def _register(self, name: str) -> None:
        loaded = self._store.load(name, backbone_sha256=self._backbone_sha256)
        self.host.register(name, loaded.tensors, rows_of(name, loaded.config))

    def _take_over(self, bank: RegionBank) -> None:
        self.bank = bank
        for name in set(self.host.names) - set(bank.adapters):
            self.host.drop(name)


def rows_of(name: str, config: Mapping[str, object]) -> list[int]:
    """Catalogue rows that an adapter version has of its own.

    Raises:
        AdapterRefused: `bad_config`, its configuration does not list them.
    """
    rows = config.get("rows")
    if not isinstance(rows, list):
        raise AdapterRefused("bad_config", f"{name}: its configuration does not list the item rows it moves")
    return [int(row) for row in rows]
