"""Interactions that count: by their value, and by the kind of event that they are.

An interaction counts wholly or not at all. A share of one would have no meaning in ranks, hits and drift detectors,
for which an event is one event.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pipeline.errors import BadEvent
from pipeline.events.cells import identifier, is_absent


@dataclass(frozen=True)
class CountingRule:
    """Rule that says which interactions count.

    Attributes:
        positive_from: smallest value that counts; None: every value does. An interaction without a value counts.
        event_types: kind of event, in lower case -> whether it counts; empty: every kind does.
    """

    positive_from: float | None = None
    event_types: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        return cls(record["positive_from"], record["event_types"])

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"positive_from": self.positive_from, "event_types": dict(self.event_types)}

    def counts_value(self, value: float | None) -> bool:
        """Return True if an interaction of this value counts."""
        return value is None or self.positive_from is None or value >= self.positive_from

    def counts_kind(self, cell: object) -> bool:
        """Return True if an event of this kind counts, as one without a kind does.

        Raises:
            BadEvent: `bad_event_type`; `unknown_event_type`, the rule does not have the kind.
        """
        if not self.event_types or is_absent(cell):
            return True
        kind = identifier(cell, "event_type").lower()
        if kind not in self.event_types:
            raise BadEvent("unknown_event_type", f"data.event_types does not say whether a {kind[:40]!r} counts")
        return self.event_types[kind]
