"""Preference regions: parts of the representation space that share a taste, on the unit sphere.

Set-up regions come from spherical k-means (Dhillon and Modha, 2001); each is described by a von
Mises-Fisher density (Banerjee et al., 2005), normaliser included: without it the region of the largest
concentration takes nearly every window.
"""

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
    """Whether a region is in use."""

    LIVE = "live"
    MERGED = "merged"
    RETIRED = "retired"


@dataclass(frozen=True)
class Region:
    """One preference region.

    Attributes:
        region_id: issued once, never reused.
        version: n-th state of the region, 0 at its opening.
        status: live, merged or retired.
        origin: the set-up slice or a stretch of the stream.
        parent: the region that it grew out of, or None.
        centroid: (d,) unit vector.
        radius: angle in radians that holds `radius_quantile` of its windows.
        concentration: kappa of its von Mises-Fisher density.
        prior: share of windows that were its own when it was last estimated.
        adapter: name of its live adapter version, or None (the backbone answers).
        opened_at: events of the stream seen when it was opened, 0 for set-up.
        adapter_weight: share of its adapter in the answers of the region; the backbone has the rest. Learned on
            held-out windows: an adapter is surest where it learned least.
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
        """As a JSON object."""
        record = {**asdict(self), "status": str(self.status), "origin": str(self.origin)}
        record["centroid"] = self.centroid.tolist()
        record["trust"] = record.pop("adapter_weight")
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        fields = dict(record)
        fields["status"], fields["origin"] = Status(fields["status"]), Origin(fields["origin"])
        fields["centroid"] = np.array(fields["centroid"], dtype=np.float64)
        fields["adapter_weight"] = fields.pop("trust", 1.0)
        return cls(**fields)
