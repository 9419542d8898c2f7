"""View of recent activity for the dashboard: the newest statistics, dead letters and adapter versions."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from adapters_store import parse_version_name
from pipeline.errors import BadEvent
from pipeline.events.dead_letter import DeadLetter, Replayed
from pipeline.events.statistics import StatisticsInterval
from pipeline.regions.injection import EVERY_REGION
from pipeline.regions.revision import Revision
from pipeline.regions.unlearned import Replacement
from pipeline.streams.interface import Record
from pipeline.streams.topics import CONTROL, DEAD_LETTERS, REGIONS, STATISTICS

TOPICS = (STATISTICS, DEAD_LETTERS, REGIONS, CONTROL)
"""Topics of this view."""

INTERVALS = 500
"""Intervals of statistics that are remembered: those of 100,000 events under the shipped configuration."""

LETTERS = 50
"""Dead letters that are remembered; all are counted."""

VERSIONS = 100
"""Versions that are remembered of each region."""

TRAFFIC = 2_000
"""Least number of events over which a region's share of the traffic is computed."""


class Activity:
    """The newest statistics, dead letters and adapter versions.

    Attributes:
        refused: reason -> number of dead letters in the log.
        replayed: number of these that were replayed.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.replayed = 0
        self._intervals: deque[StatisticsInterval] = deque(maxlen=INTERVALS)
        self._letters: deque[Mapping[str, Any]] = deque(maxlen=LETTERS)
        self._versions: dict[int, deque[Mapping[str, Any]]] = defaultdict(lambda: deque(maxlen=VERSIONS))
        self._by_topic = {
            STATISTICS: self._apply_statistics,
            DEAD_LETTERS: self._apply_letter,
            REGIONS: self._apply_revision,
            CONTROL: self._apply_control,
        }

    def apply(self, record: Record) -> None:
        """Apply a record of one of `TOPICS`."""
        if record.value is not None:
            self._by_topic[record.topic](record, record.value)

    def intervals(self, after: int = -1) -> list[StatisticsInterval]:
        """Statistics of the intervals that ended after an event, oldest first."""
        return [interval for interval in list(self._intervals) if interval.at_event > after]

    def letters(self) -> list[Mapping[str, Any]]:
        """Dead letters, newest first, without the values that were refused."""
        return list(self._letters)[::-1]

    def versions(self) -> dict[int, list[Mapping[str, Any]]]:
        """Region id -> its adapter versions, newest first."""
        return {region_id: list(versions)[::-1] for region_id, versions in list(self._versions.items())}

    def traffic(self) -> dict[int, float]:
        """Region id -> share of the newest events; empty before any event was scored."""
        counts: Counter[int] = Counter()
        for interval in reversed(list(self._intervals)):
            if counts.total() >= TRAFFIC:
                break
            counts.update(interval.windows())
        return {region_id: count / counts.total() for region_id, count in counts.items()}

    def _apply_statistics(self, _: Record, value: Mapping[str, Any]) -> None:
        interval = StatisticsInterval.from_record(value)
        # Read now: a fault in the rows would otherwise show at each request.
        interval.windows()
        self._intervals.append(StatisticsInterval(int(interval.at_event), interval.timestamp, interval.regions))

    def _apply_letter(self, record: Record, value: Mapping[str, Any]) -> None:
        letter = DeadLetter.from_record(value)
        if not isinstance(letter.reason, str):
            raise BadEvent("bad_reason", f"a dead letter needs a reason, not {str(letter.reason)[:40]!r}")
        # Key and value may be about a person, and the detail quotes the value: they stay in the log.
        shown = {name: getattr(letter, name) for name in ("reason", "topic", "partition", "offset")}
        self._letters.append({"letter": record.offset, "timestamp": record.timestamp, **shown})
        self.refused[letter.reason] += 1

    def _apply_revision(self, record: Record, value: Mapping[str, Any]) -> None:
        revision = Revision.from_record(value)
        for old, by in revision.unlearned.replaced.items() if revision.unlearned is not None else ():
            self._replace(old, by, revision.edit_id)
        changed = [(r.region_id, r.adapter, r.adapter_weight) for r in revision.regions if r.adapter is not None]
        if revision.injection is not None and revision.injection.names:
            changed.append((EVERY_REGION, revision.injection.names[-1], 1.0))
        for region_id, adapter, weight in changed:
            versions = self._versions[region_id]
            if not versions or versions[-1]["adapter"] != adapter:
                versions.append(
                    {
                        "adapter": adapter,
                        "revision": record.offset,
                        "timestamp": record.timestamp,
                        "trust": weight,
                        "edit_id": revision.edit_id,
                        "validation": revision.validation,
                        "rollback_of": revision.rollback_of,
                    }
                )

    def _replace(self, destroyed: str, by: Replacement | None, edit_id: str | None) -> None:
        """Show in place of a version that an Unlearn destroyed the one that stands for it, if there is one."""
        versions = self._versions[parse_version_name(destroyed)[0]]
        # The validation of the edit that led to the old version is not that of this one.
        unlearn = {"edit_id": edit_id, "validation": None}
        standing = {} if by is None else {"adapter": by.adapter, "trust": by.weight, **unlearn}
        kept = [{**one, **standing} if one["adapter"] == destroyed else one for one in versions]
        versions.clear()
        versions.extend(one for one in kept if one["adapter"] != destroyed)

    def _apply_control(self, _: Record, value: Mapping[str, Any]) -> None:
        act = Replayed.from_record(value)
        if act is not None:
            self.replayed += len(act.offsets)
