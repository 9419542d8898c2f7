"""Record of an unlearning: windows that are evidence no more, and the versions that were replaced."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from adapters_store import ArrayFile


@dataclass(frozen=True)
class Replacement:
    """Version that stands for one that was destroyed.

    Attributes:
        adapter: its name.
        weight: of the adapter in the answers of its region (`trust` in the record).
    """

    adapter: str
    weight: float


@dataclass(frozen=True)
class Unlearned:
    """Effects of one Unlearn beside the regions.

    Attributes:
        windows: offsets in `gated` of the windows that are evidence no more.
        replaced: version that was destroyed -> the one that was trained in its place, None where none was.
        rewritten: array file of the ledger that the next Unlearn starts from (`pipeline.regions.rewritten`); None where
            no edit was carried out again.
    """

    windows: tuple[int, ...]
    replaced: Mapping[str, Replacement | None]
    rewritten: ArrayFile | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object of a record."""
        replaced = {old: new and {"adapter": new.adapter, "trust": new.weight} for old, new in self.replaced.items()}
        record = {"windows": list(self.windows), "replaced": replaced}
        return record if self.rewritten is None else {**record, "rewritten": asdict(self.rewritten)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the JSON object of a record."""
        found = record["replaced"].items()
        replaced = {str(old): new and Replacement(str(new["adapter"]), float(new["trust"])) for old, new in found}
        file = record.get("rewritten")
        return cls(tuple(map(int, record["windows"])), replaced, file and ArrayFile(file["sha256"], file["bytes"]))
