"""Injection in force: the versions whose injected items every region answers with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

EVERY_REGION = 0
"""Region id of the versions that hold injected items: no single region, set-up regions begin at 1."""


@dataclass(frozen=True)
class Injection:
    """Versions of injected items in force.

    Attributes:
        version: number of the newest version ever published, 0 before the first; no number is used twice.
        names: versions in force, in order: where two name the same item, the later one holds.
    """

    version: int = 0
    names: tuple[str, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object of a record."""
        return {"version": self.version, "names": list(self.names)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the JSON object of a record."""
        return cls(int(record["version"]), tuple(map(str, record["names"])))


NO_INJECTION = Injection()
"""Injection before the first version: items have the vectors of their texts."""
