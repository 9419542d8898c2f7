"""Records of `interactions` with a whole history: what a user took before the live stream, for a gate to take over.

load        true
user_id     the user
history     item ids, oldest first
disliked    places in `history` of items that were disliked, where there are any
taken       distinct items before these, the newest at the end
event_ids   ids of the newest events, oldest first, so that they are recognised where they come again
timestamp   time of the newest event, seconds
times       time of each item of `history`, seconds; optional, and so is
taken_times time of each item of `taken`

A user who was erased gets what is later than the erasure; without times nothing is known to be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pipeline.errors import BadEvent
from pipeline.events.cells import identifier, moment
from pipeline.events.field_types import places_of
from pipeline.events.versioning import versioned


@dataclass(frozen=True, slots=True)
class LoadedHistory:
    """One user's history before the live stream.

    Attributes:
        user_id: the user.
        items: item ids, oldest first; at least one.
        taken: distinct items before these, the newest at the end.
        event_ids: ids of the newest events, oldest first.
        timestamp: time of the newest event, seconds.
        times: time of each item, seconds; empty where they are not known.
        taken_times: time of each item of `taken`.
        disliked: ascending places in `items` of those that were disliked.
    """

    user_id: str
    items: Sequence[str]
    taken: Sequence[str]
    event_ids: Sequence[str]
    timestamp: float
    times: Sequence[float] = ()
    taken_times: Sequence[float] = ()
    disliked: Sequence[int] = ()

    @property
    def oldest(self) -> float:
        """Time of the oldest item, seconds; before everything where the times are not known."""
        if len(self.times) < len(self.items) or len(self.taken_times) < len(self.taken):
            return -math.inf
        return min((*self.times, *self.taken_times))

    def after(self, moment: float) -> Self | None:
        """Return what is later than a moment, None where nothing is known to be."""
        if self.oldest > moment:
            return self
        kept = [place for place, at in enumerate(self.times) if at > moment]
        later = [(self.items[place], self.times[place]) for place in kept]
        disliked = tuple(new for new, place in enumerate(kept) if place in self.disliked)
        taken = [(item, at) for item, at in zip(self.taken, self.taken_times, strict=False) if at > moment]
        if not later:
            return None
        # Event ids are those of the newest items, one each.
        ids = self.event_ids[max(len(self.event_ids) - len(later), 0) :]
        (items, times), (left, left_times) = _columns(later), _columns(taken)
        read = replace(self, items=items, times=times, disliked=disliked)
        return replace(read, taken=left, event_ids=ids, taken_times=left_times)

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """From a JSON object.

        Raises:
            BadEvent: `bad_history`, or a reason of `identifier` or `moment`.
        """
        times, taken_times = (_times(record, name) for name in ("times", "taken_times"))
        user_id, timestamp = identifier(record.get("user_id"), "user_id"), moment(record.get("timestamp"))
        items, taken, event_ids = (_ids(record, name) for name in ("history", "taken", "event_ids"))
        if not items:
            raise BadEvent("bad_history", "a history holds at least one item")
        for name, ids, of in (("times", items, times), ("taken_times", taken, taken_times)):
            if of and len(of) != len(ids):
                raise BadEvent("bad_history", f"{name} must be one for each of the {len(ids)} items, not {len(of)}")
        try:
            disliked = places_of(record, "disliked", items)
        except ValueError as error:
            raise BadEvent("bad_history", str(error)) from None
        return cls(user_id, items, taken, event_ids, timestamp, times, taken_times, disliked)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        value: dict[str, Any] = {"load": True, "user_id": self.user_id, "timestamp": self.timestamp}
        value |= {"history": list(self.items), "taken": list(self.taken), "event_ids": list(self.event_ids)}
        if self.disliked:
            value["disliked"] = list(self.disliked)
        if self.times:
            value |= {"times": list(self.times), "taken_times": list(self.taken_times)}
        return versioned(value)


def _columns(rows: Sequence[tuple[str, float]]) -> tuple[list[str], list[float]]:
    return [item for item, _ in rows], [at for _, at in rows]


def _ids(record: Mapping[str, object], name: str) -> list[str]:
    return [identifier(cell, name) for cell in _cells(record, name)]


def _times(record: Mapping[str, object], name: str) -> list[float]:
    return [moment(cell, name) for cell in _cells(record, name)]


def _cells(record: Mapping[str, object], name: str) -> list[object]:
    cells = record.get(name, [])
    if not isinstance(cells, list):
        raise BadEvent("bad_history", f"{name} must be a list, not {type(cells).__name__}")
    return cells
