"""Records of `interactions` with a whole history: what a user took before the live stream, for a gate to take over.

load        true
user_id     the user
history     item ids, oldest first
taken       distinct items before these, the newest at the end
event_ids   ids of the newest events, oldest first, so that they are recognised where they come again
timestamp   time of the newest event, seconds
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pipeline.errors import BadEvent
from pipeline.events.cells import identifier, moment
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
    """

    user_id: str
    items: Sequence[str]
    taken: Sequence[str]
    event_ids: Sequence[str]
    timestamp: float

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """From a JSON object.

        Raises:
            BadEvent: `bad_history`, or a reason of `identifier` or `moment`.
        """
        user_id, timestamp = identifier(record.get("user_id"), "user_id"), moment(record.get("timestamp"))
        items, taken, event_ids = (_ids(record, name) for name in ("history", "taken", "event_ids"))
        if not items:
            raise BadEvent("bad_history", "a history holds at least one item")
        return cls(user_id, items, taken, event_ids, timestamp)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        lists = {"history": list(self.items), "taken": list(self.taken), "event_ids": list(self.event_ids)}
        return versioned({"load": True, "user_id": self.user_id, **lists, "timestamp": self.timestamp})


def _ids(record: Mapping[str, object], name: str) -> list[str]:
    cells = record.get(name, [])
    if not isinstance(cells, list):
        raise BadEvent("bad_history", f"{name} must be a list of ids, not {type(cells).__name__}")
    return [identifier(cell, name) for cell in cells]
