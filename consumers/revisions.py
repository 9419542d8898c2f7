"""Following `regions`: what is live, loaded and verified before it takes effect."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters_store import AdaptersStore
from pipeline.adapters import AdapterHost
from pipeline.errors import AdapterRefused
from pipeline.gate import OriginModel
from pipeline.regions import Region
from pipeline.routing import RegionBank


def revision_record(bank: RegionBank, changed: tuple[Region, ...], moved: bool) -> dict[str, Any]:
    """One record of `regions`: the regions that changed, and the boundaries if they moved."""
    return {
        "regions": [region.to_record() for region in changed],
        "origins": bank.origins.to_record() if moved else None,
        "gate_version": bank.gate_version,
    }


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
            AdapterRefused: a version is not what it should be; the regions stay as they were.
        """
        regions = tuple(Region.from_record(r) for r in revision["regions"])
        for name in (r.adapter for r in regions):
            if name and name not in self.host.names:
                loaded = self._store.load(name, backbone_sha256=self._backbone_sha256)
                self.host.register(name, loaded.tensors, _rows(name, loaded.config))
        bank = self.bank.changed(*regions)
        if revision["origins"] is not None:
            bank = replace(bank, origins=OriginModel.from_record(revision["origins"]))
        self.bank = replace(bank, gate_version=revision["gate_version"])
        for name in set(self.host.names) - set(self.bank.adapters):
            self.host.drop(name)


def _rows(name: str, config: Mapping[str, object]) -> list[int]:
    rows = config.get("rows")
    if not isinstance(rows, list):
        raise AdapterRefused("bad_config", f"{name}: its configuration does not list the item rows it moves")
    return [int(row) for row in rows]
