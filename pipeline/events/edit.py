"""Edits of regions that the monitor decides on, their outcomes, and their records in `edits` and `outcomes`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EditSettings
from pipeline.events.field_types import checked
from pipeline.events.packed_evidence import hashed_id, pack, unpack

AUDIT = "audit"
"""Signal of an edit without an alarm: at intervals, a stream region is tried on other set-up regions."""

ERASURE = "erasure"
"""Signal of an Unlearn: a user was erased."""

LEAST_HELD_OUT = 48
"""Windows held out at least, if an edit has four times as many: on fewer, a comparison is mostly noise."""


class Operation(StrEnum):
    """The edit operations.

    Update trains a stream region's adapter on its new windows; Expand moves a boundary and trains nothing; Add opens
    a region; Merge ends one of two regions that came to coincide; Retire ends a region without windows. Inject gives
    new items output vectors, in closed form, for all regions. Unlearn carries the published edits out again without the
    windows of erased users.
    """

    UPDATE = "update"
    EXPAND = "expand"
    ADD = "add"
    MERGE = "merge"
    RETIRE = "retire"
    INJECT = "inject"
    UNLEARN = "unlearn"


MOVES_BOUNDARIES = frozenset({Operation.ADD, Operation.EXPAND, Operation.MERGE, Operation.RETIRE})
"""Operations that may move a boundary."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A reference to a gated window that an edit is based on.

    Attributes:
        event_id: id of the interaction that followed the window; its hash where it was read from packed evidence.
        offset: offset of its record in `gated`.
        region_id: region that the window is evidence for.
    """

    event_id: str
    offset: int
    region_id: int

    def for_region(self, region_id: int) -> "Evidence":
        """Return the same window as evidence for another region."""
        return Evidence(self.event_id, self.offset, region_id)

    def is_of(self, event_id: object) -> bool:
        """Say whether this is the window before an interaction."""
        return isinstance(event_id, str) and self.event_id in (event_id, hashed_id(event_id))


EVIDENCE = ("windows", "samples")
"""Fields of an edit that hold evidence."""

LISTED_BYTES, MOST_LISTED_BYTES = 24, 262_144
"""Bytes of a listed window beside its event id, about, and of all windows of an edit that lists them: a quarter of what
a record of the log may have."""


@dataclass(frozen=True)
class Edit:
    """One decision of the monitor, with its reason and everything needed to apply it.

    Attributes:
        edit_id: hash of its content (see `edit_id`): equal edits have equal ids.
        operation: its kind.
        region_id: region to change (the new one for an Add, 0 for an Inject or Unlearn).
        other_region_id: second region of a Merge, or of an Expand between two set-up regions.
        base_version: version of the region, or of the injected items, that the edit starts from; 0 for an Add, the
            number of those before it for an Unlearn.
        base_gate: version of the gate that the edit starts from.
        reason: signal, statistic, threshold and a sentence; of an Unlearn, also the offsets of its `requests` in
            `gated`.
        windows: evidence for training and validation, in event order; of an Inject, the windows that preceded its
            items.
        samples: newest evidence of every stream region, for operations that move boundaries; of an Inject, the
            windows that judge it.
        at_event: number of stream events seen when it was decided.
        timestamp: event time of the newest of them, seconds.
        seed: seed of its training.
        passes: passes over the windows trained on; None: `training.epochs`.
        items: ids of the items of an Inject.
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
    items: tuple[str, ...] = ()

    @property
    def touched(self) -> frozenset[int]:
        """Ids of the regions that it changes, or whose windows it rests on."""
        return touched_regions(self.region_id, self.other_region_id, self.reason)

    def to_record(self) -> dict[str, Any]:
        """Convert to a JSON object without loss."""
        record = asdict(self)
        record["operation"] = str(self.operation)
        for name in EVIDENCE:
            record[name] = [[e.event_id, e.offset, e.region_id] for e in getattr(self, name)]
        if self.items:
            record["items"] = list(self.items)
        else:
            del record["items"]
        return record

    def to_log(self) -> dict[str, Any]:
        """Convert to a record of `edits`: as `to_record`, but that many windows are packed, without their event ids."""
        record = self.to_record()
        if sum(LISTED_BYTES + 2 * len(e.event_id) for e in (*self.windows, *self.samples)) > MOST_LISTED_BYTES:
            record |= {name: pack(record[name]) for name in EVIDENCE}
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read from a JSON object of either form.

        Raises:
            LookupError, TypeError, ValueError: it is no such record.
        """
        fields = dict(record)
        fields["operation"] = Operation(fields["operation"])
        for name in EVIDENCE:
            fields[name] = evidence_in(record, name)
        fields["items"] = tuple(fields.get("items", ()))
        return checked(cls(**fields))


@dataclass(frozen=True)
class Outcome:
    """Outcome of an edit.

    Attributes:
        edit_id: id of the edit.
        operation: operation of the edit; `UPDATE` where the parent was updated instead of an Add.
        region_id: region of the edit; the parent where that was updated instead.
        published: True if it went live.
        detail: the reason, in a sentence.
        version: name of the adapter version it published, or None.
        validation: metric, windows, before, after and error on held-out windows; None without a validation.
        trained_windows: windows trained on, counting each pass, published or not.
        moved_windows: share of the edit's windows whose region changed; None where no boundary moved.
    """

    edit_id: str
    operation: Operation
    region_id: int
    published: bool
    detail: str
    version: str | None = None
    validation: Mapping[str, Any] | None = None
    trained_windows: int = 0
    moved_windows: float | None = None

    def to_record(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        return {**asdict(self), "operation": str(self.operation)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read from a JSON object.

        Raises:
            LookupError, TypeError, ValueError: it is no such record.
        """
        return checked(cls(**{**record, "operation": Operation(record["operation"])}))


def evidence_in(record: Mapping[str, Any], name: str) -> tuple[Evidence, ...]:
    """Return evidence of the record of an edit, listed or packed.

    Args:
        record: of the edit.
        name: one of `EVIDENCE`.

    Raises:
        LookupError, TypeError, ValueError: it is no such record.
    """
    cells = record[name]
    return tuple(Evidence(*one) for one in (unpack(cells) if isinstance(cells, Mapping) else cells))


def touched_regions(region_id: int | None, other: int | None, reason: Mapping[str, Any]) -> frozenset[int]:
    """Return the ids of the regions that an edit changes, or whose windows it rests on.

    Args:
        region_id: region to change; None where it is not issued yet.
        other: second region, or None.
        reason: of the edit; `regions` are those whose alarms it answers, or whose windows it tries elsewhere.
    """
    named = reason.get("regions")
    # The reason of another program's edit may hold anything.
    regions = named if isinstance(named, list | tuple) else ()
    return frozenset(i for i in (region_id, other, *regions) if isinstance(i, int))


def edit_id(
    operation: Operation,
    region_id: int,
    base_version: int,
    event_ids: Iterable[str],
    training: Mapping[str, Any],
    seed: int,
) -> str:
    """Return the hash of an edit's content; offsets are left out, because they differ from log to log."""
    fields = [str(operation), region_id, base_version, sorted(event_ids), dict(training), seed]
    content = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def held_out(reason: Mapping[str, Any], windows: int, settings: EditSettings) -> NDArray[np.bool_]:
    """Choose the windows of an edit that are held out for validation and not trained on.

    They are spread evenly: the newest windows often belong to one or two users, who would decide alone.

    Args:
        reason: reason of the edit; an audit trains nothing and holds out half.
        windows: number of windows of the edit.
        settings: the section `edits`.

    Returns:
        (windows,) mask of the held-out windows, at least one.
    """
    # In an audit, one half of the windows fits the boundary and the other validates it.
    least = windows // 2 if reason["signal"] == AUDIT else min(LEAST_HELD_OUT, windows // 4)
    judged = max(round(windows * settings.held_out), least, 1)
    places = np.zeros(windows, dtype=bool)
    places[(np.arange(judged) * windows) // judged + (windows // judged) // 2] = True
    return places
