"""Records of `control` that people and servers write: administrative acts, with their author."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

ROLLBACK, PASS, PIN, RELOAD = "rollback", "pass", "pin", "reload"
"""Acts: an older adapter restored, a trial passed, a region pinned to a version, refused adapters loaded again."""


@dataclass(frozen=True)
class ControlAct:
    """One act.

    Attributes:
        act: one of the acts above.
        by: name of the person or program.
        region_id: region that the act is about, None where it is about all.
        adapter: version that a pin holds or a pass lets through; None removes a pin.
        details: further fields, for people.
    """

    act: str
    by: str
    region_id: int | None = None
    adapter: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object; a rollback names its adapters in the details."""
        record: dict[str, Any] = {"act": self.act, "by": self.by}
        if self.region_id is not None:
            record["region_id"] = self.region_id
        if self.act in (PASS, PIN):
            record["adapter"] = self.adapter
        return record | dict(self.details)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self | None:
        """From a JSON object; None for the other records of `control`, by which stages pass on their progress."""
        if "act" not in record:
            return None
        known = ("act", "by", "region_id", "adapter")
        region_id = record.get("region_id")
        return cls(
            str(record["act"]),
            str(record.get("by", "")),
            None if region_id is None else int(region_id),
            record.get("adapter"),
            {name: value for name, value in record.items() if name not in known},
        )
