"""Record of `regions`: the regions that changed, boundaries if they moved, injected items if any, and their cause.

The number of a revision is the offset of its record. The first offset of `regions` that was not read is called
`next_revision`.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from adapters_store import ArrayFile
from pipeline.errors import LogError
from pipeline.events.field_types import checked
from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import Injection
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Region
from pipeline.regions.unlearned import Unlearned
from pipeline.streams.topics import REGIONS


@dataclass(frozen=True)
class Revision:
    """One change of the regions.

    Attributes:
        regions: the changed regions, in their new state.
        origins: the new boundaries, None where they stay.
        gate_version: version of the boundaries afterwards; where they stay, that of the regions that it was made from.
        edit_id: the edit that caused it, None where a person or a trial did.
        validation: result of that edit on held-out windows.
        base_revision: `next_revision` of the regions that the edit was applied to; None in a replay.
        canary: share of the users who get the new adapter first; 0: all of them.
        passed: adapter whose trial ends with this revision, or None.
        rollback_of: adapter that a rollback leaves, None for the backbone.
        restored: revision whose adapter a rollback restores, None where it is no rollback.
        injection: versions of injected items from now on; None where they stay. It comes with no other change, but for
            that of an Unlearn.
        arrays: file of the adapters store that holds the arrays of `regions` and `origins`, which are empty here; None
            where nothing is left out.
        unlearned: what an Unlearn changed beside the regions; None for any other cause.
    """

    regions: tuple[Region, ...]
    origins: OriginModel | None
    gate_version: int
    edit_id: str | None = None
    validation: Mapping[str, Any] | None = None
    base_revision: int | None = None
    canary: float = 0.0
    passed: str | None = None
    rollback_of: str | None = None
    restored: int | None = None
    injection: Injection | None = None
    arrays: ArrayFile | None = None
    unlearned: Unlearned | None = None

    @classmethod
    def of(cls, bank: RegionBank, changed: tuple[Region, ...], moved: bool, **cause: Any) -> Self:
        """Build the revision that leads to a bank.

        Args:
            bank: the regions afterwards.
            changed: the regions that differ from before.
            moved: True where the boundaries differ too.
            cause: other fields.
        """
        return cls(changed, bank.origins if moved else None, bank.gate_version, **cause)

    def after(self, bank: RegionBank) -> RegionBank:
        """Return the regions after this revision.

        Raises:
            ValueError: it does not fit these regions, or its arrays have not been read.
        """
        if self.arrays is not None:
            raise ValueError(f"its arrays are in the file {self.arrays.sha256}, which has not been read")
        if self.injection is not None:
            bank = replace(bank, injection=self.injection)
            if self.unlearned is None:
                # It may have been made beside an edit that moved boundaries.
                return bank
        changed = bank.changed(*self.regions)
        if self.origins is not None:
            # Beside one that moves no boundary another may have moved them since.
            changed = replace(changed, origins=self.origins, gate_version=self.gate_version)
        _check_fit(bank, changed)
        return changed

    @property
    def destroyed(self) -> Collection[str]:
        """Versions that are destroyed once this revision is in force."""
        return () if self.unlearned is None else self.unlearned.replaced.keys()

    @property
    def replacements(self) -> frozenset[str]:
        """Versions that were trained in the place of those."""
        replaced = () if self.unlearned is None else self.unlearned.replaced.values()
        return frozenset(by.adapter for by in replaced if by is not None)

    def without(self, versions: Collection[str]) -> "Revision":
        """Return this revision without versions that are destroyed; the backbone answers in their place."""
        regions = tuple(replace(r, adapter=None) if r.adapter in versions else r for r in self.regions)
        injection = self.injection and replace(
            self.injection, names=tuple(name for name in self.injection.names if name not in versions)
        )
        return replace(self, regions=regions, injection=injection)

    def conflicts_with(self, other: "Revision", rests_on: Collection[int] = ()) -> bool:
        """Return whether this revision can no longer be published after another one that it does not know of.

        Both change the boundaries or inject items, or the other one changes a region that this one changes or rests on.
        An Unlearn starts from all that came before it, and changes what all edits start from.

        Args:
            other: is in the log.
            rests_on: ids of regions, beside those that this one changes.
        """
        if self.unlearned is not None or other.unlearned is not None:
            return other.unlearned is not None or bool(other.regions or other.injection)
        if self.injection is not None or other.injection is not None:
            return self.injection is not None and other.injection is not None
        if self.origins is not None and other.origins is not None:
            return True
        own = {*rests_on, *(r.region_id for r in self.regions)}
        return not own.isdisjoint(r.region_id for r in other.regions)

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object of a record; fields of other causes than its own are left out."""
        record: dict[str, Any] = {
            "regions": [region.to_record() for region in self.regions],
            "origins": None if self.origins is None else self.origins.to_record(),
            "gate_version": self.gate_version,
        }
        if self.edit_id is not None:
            record |= {"edit_id": self.edit_id, "validation": self.validation}
        if self.base_revision is not None:
            record |= {"base_revision": self.base_revision, "canary": self.canary}
        if self.passed is not None:
            record["passed"] = self.passed
        if self.restored is not None:
            record |= {"rollback_of": self.rollback_of, "restored": self.restored}
        if self.injection is not None:
            record["injection"] = self.injection.to_record()
        if self.arrays is not None:
            record["arrays"] = asdict(self.arrays)
        if self.unlearned is not None:
            record["unlearned"] = self.unlearned.to_record()
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the JSON object of a record.

        Raises:
            LogError: it was written by a version with another encoding of windows.
            LookupError, TypeError, ValueError: it is no such record.
        """
        revision = cls(
            tuple(Region.from_record(region) for region in record["regions"]),
            None if record["origins"] is None else _origins(record["origins"]),
            record["gate_version"],
            record.get("edit_id"),
            record.get("validation"),
            record.get("base_revision"),
            float(record.get("canary", 0.0)),
            record.get("passed"),
            record.get("rollback_of"),
            record.get("restored"),
            Injection.from_record(record["injection"]) if "injection" in record else None,
            ArrayFile(record["arrays"]["sha256"], record["arrays"]["bytes"]) if "arrays" in record else None,
            Unlearned.from_record(record["unlearned"]) if "unlearned" in record else None,
        )
        return checked(revision)


def _origins(record: Mapping[str, Any]) -> OriginModel:
    if "coverage" not in record:
        raise LogError(
            f"the boundaries in topic {REGIONS} do not count items taken since set-up: go on with the version that "
            "wrote them, or begin a new log (log.url, log.prefix)"
        )
    return OriginModel.from_record(record)


def _check_fit(before: RegionBank, after: RegionBank) -> None:
    """Check that windows can be assigned to the regions after a revision.

    Raises:
        ValueError: they cannot.
    """
    ids, origins = [region.region_id for region in after.regions], after.origins
    if len({region.centroid.shape for region in after.regions}) > 1 or len(ids) > len(set(ids)):
        raise ValueError("regions have centroids of different lengths, or one id")
    if not set(origins.origins) <= set(ids):
        raise ValueError("the boundaries are of other regions")
    known, features = len(origins.origins), len(origins.center)
    shapes = (origins.center.shape, origins.scale.shape, origins.weights.shape, len(origins.coverage))
    if shapes != ((features,), (features,), (features + known + 1, known + 1), known):
        raise ValueError("the boundaries have arrays of other shapes")
    if len(before.origins.center) not in (0, features) or (before.setup and not after.setup):
        raise ValueError("the boundaries are of windows of another length, or no set-up region is left")
