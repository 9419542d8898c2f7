"""Records of `feeds`: how far a feed has been written, in the transaction of its newest records."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pipeline.events.versioning import versioned


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Position of one feed.

    Attributes:
        name: name of the feed.
        source: facts of the source that decide its records: where they differ, the position means nothing.
        position: records of the source that are written; of a file that is followed, bytes.
        line: lines of a followed file that are written; 0 for others.
    """

    name: str
    source: Mapping[str, Any] = field(default_factory=dict)
    position: int = 0
    line: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        return cls(record["name"], record["source"], record["position"], record.get("line", 0))

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        fields = {"name": self.name, "source": dict(self.source), "position": self.position, "line": self.line}
        return versioned(fields)

    def at(self, position: int, line: int = 0) -> Self:
        """Return a later position of the feed."""
        return replace(self, position=position, line=line)

    def differences(self, source: Mapping[str, Any]) -> list[str]:
        """Return the names of the facts in which another source differs."""
        return [name for name in {**self.source, **source} if self.source.get(name) != source.get(name)]
