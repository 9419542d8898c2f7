"""Administrative acts, with their author: the records of `control` that people and servers write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

ROLLBACK, PASS, PIN, RELOAD, ERASE = "rollback", "pass", "pin", "reload", "erase"
"""Acts: restore an older adapter, pass a trial, pin a region to a version, load refused adapters again, erase users."""


@dataclass(frozen=True)
class ControlAct:
    """One act.

    Attributes:
        act: one of the acts above.
        by: name of the person or program, as it was given.
        region_id: region that the act is about, None where it is about all.
        adapter: version that a pin holds or a pass lets through; None removes a pin.
        token: name of the token that allowed it; None where none was needed, and in records of earlier versions.
        details: further fields, for people.
    """

    act: str
    by: str
    region_id: int | None = None
    adapter: str | None = None
    token: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object; a rollback names its adapters in the details."""
        record: dict[str, Any] = {"act": self.act, "by": self.by}
        if self.region_id is not None:
            record["region_id"] = self.region_id
        if self.act in (PASS, PIN):
            record["adapter"] = self.adapter
        if self.token is not None:
            record["token"] = self.token
        return record | dict(self.details)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self | None:
        """From a JSON object; None for the other records of `control`, by which stages pass on their progress.

        Raises:
            ValueError: the region is no number.
            TypeError: the adapter is no name.
        """
        if "act" not in record:
            return None
        adapter = record.get("adapter")
        if not isinstance(adapter, str | None):
            raise TypeError(f"the adapter of an act must be a name, not {str(adapter)[:40]!r}")
        known = ("act", "by", "region_id", "adapter", "token")
        region_id = record.get("region_id")
        return cls(
            str(record["act"]),
            str(record.get("by", "")),
            None if region_id is None else int(region_id),
            adapter,
            None if record.get("token") is None else str(record["token"]),
            {name: value for name, value in record.items() if name not in known},
        )
