"""Records of `items` that the monitor writes: an item has arrived with its first interaction, or one was evicted.

Their keys differ from those of producers, so that neither replaces the other when the topic is compacted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pipeline.events.versioning import versioned
from pipeline.streams.topics import OWN_KEY

MARK = OWN_KEY
"""First character of the key."""

ARRIVED, EVICTED = "arrived", "evicted"


@dataclass(frozen=True, slots=True)
class ItemStatus:
    """One arrival or eviction.

    Attributes:
        item_id: id of the item.
        status: `ARRIVED` or `EVICTED`.
        timestamp: event time, seconds.
        read: offset of `items` up to which the monitor knew of no record of an arrived item: earlier records of it are
            those of its life before an eviction, and hold no more. 0 for an item that was announced as one to arrive
            with its first interaction.
    """

    item_id: str
    status: str
    timestamp: float
    read: int = 0

    @property
    def key(self) -> str:
        """Key of the record."""
        return f"{MARK}{self.item_id}"

    @classmethod
    def from_record(cls, key: str | None, record: Mapping[str, Any]) -> Self | None:
        """From key and JSON object; None for the record of a producer, whatever fields it has."""
        if key is None or not key.startswith(MARK):
            return None
        return cls(str(record["item_id"]), record["status"], float(record["timestamp"]), int(record.get("read", 0)))

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        value = {"item_id": self.item_id, "status": self.status, "timestamp": self.timestamp}
        return versioned(value | ({"read": self.read} if self.status == ARRIVED else {}))
