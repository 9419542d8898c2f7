"""Edits: what the monitor asks for, and what came of it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EditSettings

AUDIT = "audit"
"""The signal of an edit that no alarm called for: an opened region is tried where nobody asked for it."""

LEAST_HELD_OUT = 48
"""A judgement on fewer windows is mostly chance."""


class Operation(StrEnum):
    """The five edits.

    Update trains an opened region's adapter on its new windows; Expand moves a boundary and trains
    nothing; Add opens a region; Merge ends one of two regions that came to coincide; Retire ends a
    region that nobody visits.
    """

    UPDATE = "update"
    EXPAND = "expand"
    ADD = "add"
    MERGE = "merge"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A gated window that an edit rests on.

    Attributes:
        event_id: of the interaction that followed the window.
        offset: of its record in `gated`.
        region_id: the region that it is evidence for.
    """

    event_id: str
    offset: int
    region_id: int

    def for_region(self, region_id: int) -> "Evidence":
        """The same window as evidence for this region."""
        return Evidence(self.event_id, self.offset, region_id)


@dataclass(frozen=True)
class Edit:
    """One decision of the monitor; everything needed to carry it out, and why.

    Attributes:
        edit_id: hash of what it asks for, so that doing it twice is seen.
        operation: what to do.
        region_id: the region to change (the new one, for an Add).
        other_region_id: the second region, where there are two.
        base_version: version of the region that it starts from.
        base_gate: version of the gate that it starts from.
        reason: signal, statistic, threshold and a sentence.
        windows: evidence to train and judge on, in event order.
        samples: for edits that move boundaries: newest evidence of every opened region.
        at_event: stream events seen when it was decided.
        timestamp: event time of the newest of them, seconds.
        seed: of its training.
        passes: over the windows that it trains on; None: as many as are usual (`training.epochs`).
    """

    edit_id: str
    operation: Operation
    region_id: int
    other_region_id: int | None
    base_version: int
    base_gate: int
    reason: Mapping[str, Any]
    windows: tuple[Evidence, ...]
    samples: tuple[Evidence, ...]
    at_event: int
    timestamp: float
    seed: int
    passes: int | None = None

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        record = asdict(self)
        record["operation"] = str(self.operation)
        for name in ("windows", "samples"):
            record[name] = [[e.event_id, e.offset, e.region_id] for e in getattr(self, name)]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        fields = dict(record)
        fields["operation"] = Operation(fields["operation"])
        for name in ("windows", "samples"):
            fields[name] = tuple(Evidence(*e) for e in fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class Outcome:
    """What came of an edit.

    Attributes:
        edit_id, operation, region_id: of the edit.
        published: whether it went live.
        detail: why, in a sentence.
        version: name of the adapter version it published, or None.
        validation: metric, windows, before, after on held-out windows; None where nothing was judged.
        trained_windows: passes over windows that it cost, published or not.
        moved_windows: for boundaries: share of the edit's windows whose region is another than before.
    """

    edit_id: str
    operation: Operation
    region_id: int
    published: bool
    detail: str
    version: str | None = None
    validation: Mapping[str, Any] | None = None
    trained_windows: int = 0
    moved_windows: float | None = field(default=None)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "operation": str(self.operation)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        return cls(**{**record, "operation": Operation(record["operation"])})


def edit_id(
    operation: Operation,
    region_id: int,
    base_version: int,
    event_ids: Iterable[str],
    training: Mapping[str, Any],
    seed: int,
) -> str:
    """Name an edit by what it asks for, never by offsets, which differ from log to log."""
    asked = [str(operation), region_id, base_version, sorted(event_ids), dict(training), seed]
    content = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def held_out(reason: Mapping[str, Any], windows: int, settings: EditSettings) -> NDArray[np.bool_]:
    """Which of an edit's windows it is judged on, not trained on: (windows,) evenly spread over them.

    Spread, because the very newest often belong to one or two users, and would judge by these alone.
    """
    # Nothing is trained in an audit: half of the windows say where the boundary would be, half judge it.
    least = windows // 2 if reason["signal"] == AUDIT else min(LEAST_HELD_OUT, windows // 4)
    judged = max(round(windows * settings.held_out), least, 1)
    places = np.zeros(windows, dtype=bool)
    places[(np.arange(judged) * windows) // judged + (windows // judged) // 2] = True
    return places
