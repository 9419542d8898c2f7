"""Record of `gated`: one scored interaction, the window before it, and the scores of the gate for both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline.errors import LogError
from pipeline.events.edit import Evidence
from pipeline.events.windows import Windows
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import GATED


@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """Inputs of the online ensemble for one event, from which it learns the same as from the window itself.

    Attributes:
        probability: of the target under the model alone (`model_chance` in the record).
        max_probability: highest probability in the model's answer (`surest`).
        setup_shares: position of a set-up region and its share of the window; the least shares are left out (`tastes`).
        hits: for each point of the interpolation grid, True if the target is in the list (`hits`).
    """

    probability: float
    max_probability: float
    setup_shares: Sequence[tuple[int, float]]
    hits: Sequence[bool]

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self | None:
        """From a record of `gated`; None where its gate has no online ensemble."""
        if "tastes" not in record:
            return None
        return cls(record["model_chance"], record["surest"], record["tastes"], record["hits"])

    def to_fields(self) -> dict[str, Any]:
        """As fields of a record of `gated`."""
        return {
            "model_chance": self.probability,
            "surest": self.max_probability,
            "tastes": [list(share) for share in self.setup_shares],
            "hits": list(self.hits),
        }


@dataclass(frozen=True, slots=True)
class GateStamp:
    """Origin of a record of `gated`.

    Attributes:
        gate: name of the gate instance.
        number: number of events that this gate had scored before.
        next_revision: first offset of `regions` not in force when the event was scored (`revision` in the record).
    """

    gate: str
    number: int
    next_revision: int


@dataclass(frozen=True, slots=True)
class GatedEvent:
    """One interaction as the gate scored it. The record's key stands in brackets where it differs.

    Attributes:
        event_id, user_id, timestamp: of the interaction; seconds of event time.
        target: catalogue row of the item that was taken.
        window: catalogue rows before it, oldest first, left-padded with 0.
        since_setup: number of items of the window taken since set-up.
        cold: True if the window is empty.
        region_id: region of the highest posterior; the event counts in its statistics.
        setup_region: likeliest set-up region, whatever the origin (`taste`).
        setup_rival: second likeliest set-up region (`taste_rival`).
        setup_margin: their difference in share among set-up regions (`taste_margin`).
        route: stream regions with at least `gate.floor` of the answer.
        confidence: highest posterior.
        margin: highest posterior minus the second.
        angle: radians to the centroid of `region_id`.
        opened: posterior of all stream regions together, with the origin prior.
        backbone_probability: of the target under the backbone alone (`backbone_chance`).
        loss: negative log probability of the target.
        rarity: minus the log of one plus the target's count in set-up.
        model_rank: rank of the target by the model alone.
        rank: rank of the target in the answer.
        gate_version: version of the boundaries.
        online: inputs of the online ensemble, None without one.
        stamp: the gate that wrote the record, None in a replay.
    """

    event_id: str
    user_id: str
    timestamp: float
    target: int
    window: Sequence[int]
    since_setup: int
    cold: bool
    region_id: int
    setup_region: int
    setup_rival: int
    setup_margin: float
    route: Sequence[int]
    confidence: float
    margin: float
    angle: float
    opened: float
    backbone_probability: float
    loss: float
    rarity: float
    model_rank: int
    rank: int
    gate_version: int
    online: OnlineFeatures | None = None
    stamp: GateStamp | None = None

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        record = {key: getattr(self, name) for name, key in _KEYS.items()}
        if self.online is not None:
            record |= self.online.to_fields()
        if self.stamp is not None:
            record |= {"gate": self.stamp.gate, "number": self.stamp.number, "revision": self.stamp.next_revision}
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object; fields that earlier versions did not write are 0 where they are missing."""
        fields = {name: record.get(key, 0) if key in _LATER else record[key] for name, key in _KEYS.items()}
        stamp = GateStamp(record["gate"], record["number"], record["revision"]) if "gate" in record else None
        return cls(**fields, online=OnlineFeatures.from_record(record), stamp=stamp)


_CONTRACTS = {
    "setup_region": "taste",
    "setup_rival": "taste_rival",
    "setup_margin": "taste_margin",
    "backbone_probability": "backbone_chance",
}
"""Keys in the record that differ from the attribute's name."""

_LATER = {"since_setup", "opened", "backbone_chance", "model_rank"}
"""Keys that records of the first versions lack."""

_KEYS = {
    name: _CONTRACTS.get(name, name) for name in GatedEvent.__dataclass_fields__ if name not in ("online", "stamp")
}


def windows_of_events(events: Sequence[GatedEvent], length: int) -> Windows:
    """Windows of `length` items that events hold, in the order given."""
    return Windows(
        np.array([e.window for e in events], dtype=np.int64).reshape(len(events), length),
        np.array([e.target for e in events], dtype=np.int64),
        np.array([e.user_id for e in events], dtype=np.str_),
        np.array([e.event_id for e in events], dtype=np.str_),
        np.array([e.timestamp for e in events], dtype=np.float64),
        np.array([e.since_setup for e in events], dtype=np.int64),
    )


def gated_events(records: Sequence[Record]) -> list[GatedEvent]:
    """Events of records of `gated`, in order; records without a value are passed over."""
    return [GatedEvent.from_record(r.value) for r in records if r.value is not None]


def read_windows(log: Log, evidence: Sequence[Evidence], length: int) -> Windows:
    """Read the windows of evidence by offset.

    Raises:
        RecordsLostError: some are deleted already; the message names their offsets.
        LogError: the event at one of the offsets is not the one that the evidence names.
    """
    wanted = {e.offset: e.event_id for e in evidence}
    start, end = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
    records = [r for r in log.read(GATED, 0, start, end) if r.offset in wanted]
    found = {r.offset: r.value["event_id"] for r in records if r.value is not None}
    strange = sorted(offset for offset, event_id in wanted.items() if found.get(offset) != event_id)
    if strange:
        raise LogError(
            f"{GATED}/0 does not hold event {wanted[strange[0]]} at offset {strange[0]} any more ({len(strange)} of "
            f"{len(wanted)} windows differ): the log is another one than that of the edit"
        )
    return windows_of_events(gated_events(records), length)
