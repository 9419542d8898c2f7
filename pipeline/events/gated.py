"""Record of `gated`: one scored interaction, the window before it, and the scores of the gate for both.

The key is the pseudonym of the user. A tombstone is of an erased user: what stands before it under its key is no
evidence any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pipeline.errors import LogError
from pipeline.events.candidate_scores import CandidateScores
from pipeline.events.edit import Edit, Evidence
from pipeline.events.field_types import checked, places_of
from pipeline.events.item_ids import item_ids
from pipeline.events.packed_evidence import HASHED
from pipeline.events.windows import History
from pipeline.streams.interface import Log, RecordsLostError
from pipeline.streams.topics import GATED


@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """Inputs of origin prior and second stage for one event, from which they learn the same as from the window itself.

    Attributes:
        probability: of the target under the model alone, None where it did not exist (`model_chance` in the record).
        setup_shares: position of a set-up region and its share of the window; the least shares are left out (`tastes`).
        candidates: candidates with the models' scores, None where the target was no candidate, or an earlier version
            wrote the record.
    """

    probability: float | None
    setup_shares: Sequence[tuple[int, float]]
    candidates: CandidateScores | None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self | None:
        """From a record of `gated`; None where its gate has no second stage."""
        if "tastes" not in record:
            return None
        candidates = record.get("candidates")
        found = None if candidates is None else CandidateScores.from_record(candidates)
        return cls(record["model_chance"], record["tastes"], found)

    def to_fields(self) -> dict[str, Any]:
        """As fields of a record of `gated`."""
        fields: dict[str, Any] = {
            "model_chance": self.probability,
            "tastes": [list(share) for share in self.setup_shares],
        }
        return fields if self.candidates is None else {**fields, "candidates": self.candidates.to_record()}


@dataclass(frozen=True, slots=True)
class GateStamp:
    """Origin of a record of `gated`.

    Attributes:
        gate: name of the gate instance.
        number: number of events that this gate had scored before.
        next_revision: first offset of `regions` not in force when the event was scored (`revision` in the record).
        next_item: first offset of `items` not in force then (`items` in the record).
        batch: `number` of the first event that was scored together with it: the items of all of them were known then.
        followed: offset of `gated` behind the newest event of another gate that was counted then; None where none was.
    """

    gate: str
    number: int
    next_revision: int
    next_item: int = 0
    batch: int = 0
    followed: int | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self | None:
        """From a record of `gated`; None where a replay wrote it."""
        if "gate" not in record:
            return None
        later = record.get("items", 0), record.get("batch", 0), record.get("followed")
        return cls(record["gate"], record["number"], record["revision"], *later)

    def to_fields(self) -> dict[str, Any]:
        """As fields of a record of `gated`."""
        return {
            "gate": self.gate,
            "number": self.number,
            "revision": self.next_revision,
            "items": self.next_item,
            "batch": self.batch,
            **({} if self.followed is None else {"followed": self.followed}),
        }


@dataclass(frozen=True, slots=True)
class GatedEvent:
    """One interaction as the gate scored it. The record's key stands in brackets where it differs.

    A target that did not exist at that moment, such as the first interaction with an item, is a miss: both ranks are 0,
    and probabilities and losses None.

    Attributes:
        event_id, timestamp: of the interaction; seconds of event time.
        user_id: pseudonym of the user (`pipeline.events.pseudonym`); in a replay, and before schema 3, the user id.
        target: id of the item that was taken.
        window: ids of the items before it, oldest first.
        disliked: ascending places in `window` of items that were disliked; the others were taken.
        earlier: ids of distinct items that left the window, the one that left last at the end.
        since_setup: number of items of the window, the newest ones, that came since set-up, dislikes included.
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
        loss: negative log probability of the target among the items of set-up and itself: it does not depend on how
            many other items there are.
        rarity: minus the log of one plus the target's count in set-up.
        model_rank: rank of the target by the model alone.
        rank: rank of the target in the answer.
        popularity_rank: rank of the target by decayed popularity over all users, 0 without a second stage.
        gate_version: version of the boundaries.
        online: inputs of origin prior and second stage, None without them.
        stamp: the gate that wrote the record, None in a replay.
    """

    event_id: str
    user_id: str
    timestamp: float
    target: str
    window: Sequence[str]
    earlier: Sequence[str]
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
    backbone_probability: float | None
    loss: float | None
    rarity: float
    model_rank: int
    rank: int
    popularity_rank: int
    gate_version: int
    disliked: Sequence[int] = ()
    online: OnlineFeatures | None = None
    stamp: GateStamp | None = None

    @property
    def history(self) -> History:
        """The window with what left it, as the user's state had them."""
        return History(tuple(self.window), self.since_setup, tuple(self.earlier), tuple(self.disliked))

    @property
    def is_scored(self) -> bool:
        """True where the target existed."""
        return self.rank > 0

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        record = {key: getattr(self, name) for name, key in KEYS.items()}
        if not self.disliked:
            del record["disliked"]
        if self.online is not None:
            record |= self.online.to_fields()
        if self.stamp is not None:
            record |= self.stamp.to_fields()
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any], setup_items: Sequence[str]) -> Self:
        """From a JSON object; fields that earlier versions did not write are 0 where they are missing.

        Args:
            record: of `gated`.
            setup_items: ids of the items of set-up by row, from 1: records of schema 1 hold rows.

        Raises:
            LookupError, TypeError, ValueError: it is no such record.
        """
        fields = {name: record.get(key, 0) if key in _LATER else record[key] for name, key in KEYS.items()}
        fields["earlier"] = record.get("earlier", ())
        fields["disliked"] = places_of(record, "disliked", record["window"])
        fields["target"], *fields["window"] = item_ids([record["target"], *record["window"]], setup_items)
        return checked(cls(**fields, online=OnlineFeatures.from_record(record), stamp=GateStamp.from_record(record)))


_CONTRACTS = {
    "setup_region": "taste",
    "setup_rival": "taste_rival",
    "setup_margin": "taste_margin",
    "backbone_probability": "backbone_chance",
}
"""Keys in the record that differ from the attribute's name."""

_LATER = {"earlier", "disliked", "since_setup", "opened", "backbone_chance", "model_rank", "popularity_rank"}
"""Keys that records of the first versions lack."""

KEYS = {name: _CONTRACTS.get(name, name) for name in GatedEvent.__dataclass_fields__ if name not in ("online", "stamp")}
"""Attribute -> key in the record."""


class EvidenceError(LogError):
    """The log does not hold the windows that an edit names."""


def with_event_ids(edit: Edit, log: Log) -> Edit:
    """Return an edit with the event ids of its windows in place of hashes, where `gated` still holds them."""
    kept_from = log.start_offset(GATED, 0)
    hashed = [e.offset for e in edit.windows if e.event_id.startswith(HASHED) and e.offset >= kept_from]
    try:
        ids = {r.offset: str((r.value or {}).get("event_id")) for r in log.read_at(GATED, 0, hashed)}
    except RecordsLostError:
        # Deleted since the start was asked for.
        return edit
    named = (ids.get(e.offset, e.event_id) for e in edit.windows)
    windows = (replace(e, event_id=name) if e.is_of(name) else e for e, name in zip(edit.windows, named, strict=True))
    return replace(edit, windows=tuple(windows))


def read_events(log: Log, evidence: Sequence[Evidence], setup_items: Sequence[str]) -> list[GatedEvent]:
    """Read the events of evidence by offset, in order of offsets.

    Raises:
        RecordsLostError: some are deleted already; the message names their offsets.
        EvidenceError: the event at one of the offsets is not the one that the evidence names, or cannot be read.
    """
    wanted = {e.offset: e for e in evidence}
    records = list(log.read_at(GATED, 0, wanted))
    found = {r.offset: r.value.get("event_id") for r in records if r.value is not None}
    strange = sorted(offset for offset, e in wanted.items() if not e.is_of(found.get(offset)))
    if strange:
        raise EvidenceError(
            f"{GATED}/0 does not hold event {wanted[strange[0]].event_id} at offset {strange[0]} any more "
            f"({len(strange)} of {len(wanted)} windows differ): the log is another one than that of the edit"
        )
    try:
        return [GatedEvent.from_record(r.value, setup_items) for r in records if r.value is not None]
    except (LookupError, TypeError, ValueError) as error:
        raise EvidenceError(f"a window of the edit in {GATED}/0 cannot be read: {error}") from error
