"""Preference regions: parts of the unit sphere of window vectors, each with a von Mises-Fisher density."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np

from pipeline.arrays import Array


class Origin(StrEnum):
    """Part of the log that a region stands for.

    `BASE`: the set-up slice, whose regions the frozen backbone answers for. `STREAM`: the stretch of the stream that
    the region was opened on; it has an adapter of its own.
    """

    BASE = "set-up"
    STREAM = "since"


class Status(StrEnum):
    """State of use of a region."""

    LIVE = "live"
    MERGED = "merged"
    RETIRED = "retired"


@dataclass(frozen=True)
class Region:
    """One preference region.

    Attributes:
        region_id: identifier, never reused.
        version: n-th state of the region, 0 at its opening.
        status: live, merged or retired.
        origin: the set-up slice or a stretch of the stream.
        parent: the region that it was opened from, or None.
        centroid: (d,) unit vector.
        radius: angle in radians around the centroid within which `radius_quantile` of its windows lie.
        concentration: kappa of its von Mises-Fisher density.
        prior: share of all windows that belonged to it at its last estimate.
        adapter: name of its live adapter version, or None (the backbone scores).
        opened_at: number of stream events before it was opened, 0 for set-up.
        adapter_weight: weight of its adapter in the scores of the region; the backbone has the rest. It is learned on
            held-out windows, because adapters are overconfident where they learned little.
    """

    region_id: int
    version: int
    status: Status
    origin: Origin
    parent: int | None
    centroid: Array
    radius: float
    concentration: float
    prior: float
    adapter: str | None = None
    opened_at: int = 0
    adapter_weight: float = 1.0

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object of a record."""
        record = {**asdict(self), "status": str(self.status), "origin": str(self.origin)}
        record["centroid"] = self.centroid.tolist()
        record["trust"] = record.pop("adapter_weight")
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the JSON object of a record."""
        fields = dict(record)
        fields["status"], fields["origin"] = Status(fields["status"]), Origin(fields["origin"])
        fields["centroid"] = np.array(fields["centroid"], dtype=np.float64)
        fields["adapter_weight"] = fields.pop("trust", 1.0)
        return cls(**fields)
