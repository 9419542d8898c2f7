"""Records of `statistics`: how the regions did over an interval of the stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pipeline.events.versioning import versioned


@dataclass(frozen=True, slots=True)
class StatisticsInterval:
    """One interval; no decision depends on it.

    Attributes:
        at_event: number of the stream event that ends it.
        timestamp: event time of that event, seconds.
        regions: a row for each region with events in the interval; `STATISTICS_SCHEMA` of
            `pipeline.evaluation.ledger` has the columns, but for those that all rows share.
    """

    at_event: int
    timestamp: float
    regions: Sequence[Mapping[str, Any]]

    def windows(self) -> dict[int, int]:
        """Number of windows of each region, by id."""
        return {int(row["region_id"]): int(row["windows"]) for row in self.regions}

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return versioned({"at_event": self.at_event, "timestamp": self.timestamp, "regions": list(self.regions)})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        return cls(record["at_event"], record["timestamp"], record["regions"])
