"""What happened of late, for people to look at: a view of the log that forgets what is old."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from pipeline.regions.revision import Revision
from pipeline.streams.interface import Record
from pipeline.streams.topics import CONTROL, DEAD_LETTERS, REGIONS, STATISTICS

TOPICS = (STATISTICS, DEAD_LETTERS, REGIONS, CONTROL)
"""What this view is made of."""

INTERVALS = 500
"""Intervals of statistics that are remembered: those of 100,000 events under the shipped configuration."""

LETTERS = 50
"""Dead letters that are remembered; all are counted."""

VERSIONS = 100
"""Versions that are remembered of each region."""

TRAFFIC = 2_000
"""Events, at least, over which a region's share of the traffic is taken."""


class History:
    """The newest statistics, dead letters and versions.

    Attributes:
        refused: reason -> dead letters in the log.
        replayed: how many of these were replayed.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.replayed = 0
        self._intervals: deque[Mapping[str, Any]] = deque(maxlen=INTERVALS)
        self._letters: deque[Mapping[str, Any]] = deque(maxlen=LETTERS)
        self._versions: dict[int, deque[Mapping[str, Any]]] = defaultdict(lambda: deque(maxlen=VERSIONS))
        self._by_topic = {
            STATISTICS: self._interval,
            DEAD_LETTERS: self._letter,
            REGIONS: self._revision,
            CONTROL: self._act,
        }

    def apply(self, record: Record) -> None:
        """Take a record of one of `TOPICS` in."""
        if record.value is not None:
            self._by_topic[record.topic](record, record.value)

    def intervals(self, after: int = -1) -> list[Mapping[str, Any]]:
        """The intervals that ended after an event, oldest first."""
        return [interval for interval in list(self._intervals) if interval["at_event"] > after]

    def letters(self) -> list[Mapping[str, Any]]:
        """The dead letters, newest first, without what they hold."""
        return list(self._letters)[::-1]

    def versions(self) -> dict[int, list[Mapping[str, Any]]]:
        """Region id -> the adapters it was given, newest first."""
        return {region_id: list(given)[::-1] for region_id, given in list(self._versions.items())}

    def traffic(self) -> dict[int, float]:
        """Region id -> its share of the newest events; empty before anything was gated."""
        counts: Counter[int] = Counter()
        for interval in reversed(list(self._intervals)):
            if counts.total() >= TRAFFIC:
                break
            counts.update({row["region_id"]: row["windows"] for row in interval["regions"]})
        return {region_id: count / counts.total() for region_id, count in counts.items()}

    def _interval(self, _: Record, value: Mapping[str, Any]) -> None:
        self._intervals.append(value)

    def _letter(self, record: Record, value: Mapping[str, Any]) -> None:
        # What was refused may be about a person: that stays in the log.
        told = {name: value.get(name) for name in ("reason", "detail", "topic", "partition", "offset")}
        self._letters.append({"letter": record.offset, "timestamp": record.timestamp, **told})
        self.refused[str(value["reason"])] += 1

    def _revision(self, record: Record, value: Mapping[str, Any]) -> None:
        revision = Revision.from_record(value)
        for region in (r for r in revision.regions if r.adapter is not None):
            given = self._versions[region.region_id]
            if not given or given[-1]["adapter"] != region.adapter:
                given.append(
                    {
                        "adapter": region.adapter,
                        "revision": record.offset,
                        "timestamp": record.timestamp,
                        "trust": region.adapter_weight,
                        "edit_id": revision.edit_id,
                        "validation": revision.validation,
                        "rollback_of": revision.rollback_of,
                    }
                )

    def _act(self, _: Record, value: Mapping[str, Any]) -> None:
        if value.get("kind") == "replayed":
            self.replayed += len(value["offsets"])
