"""Adapter versions in force by the log: those that answer now, and when each of the others stopped to."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import new_records
from pipeline.events.control import PIN, ControlAct
from pipeline.regions.region import Region, Status
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import CONTROL, REGIONS


@dataclass(frozen=True)
class AdaptersInForce:
    """Versions that answer.

    Attributes:
        regions: of live regions, the incumbents of trials included.
        injected: of injected items.
        pinned: that a server was pinned to, until the pin was removed.
        left: every other version that a revision names -> the revision that put another one in its place, and the wall
            clock of that record, 0 where the log does not have it.
    """

    regions: Collection[str]
    injected: Collection[str]
    pinned: Collection[str]
    left: Mapping[str, tuple[int, float]]

    @property
    def all(self) -> set[str]:
        """All versions that answer."""
        return {*self.regions, *self.injected, *self.pinned}


def read_adapters_in_force(log: Log) -> AdaptersInForce:
    """Read which versions are in force; records of other programs are passed over."""
    use = _Use()
    for record in new_records(log, REGIONS, 0):
        for revision in readable([record], _revision, unreported):
            use.apply(record, revision)
    return AdaptersInForce(set(use.of_regions()), set(use.injected), set(_pins(log).values()), use.left())


class _Use:
    """Versions in force while revisions are read in order."""

    def __init__(self) -> None:
        self.injected: tuple[str, ...] = ()
        self._regions: dict[int, str] = {}
        self._incumbents: dict[int, str] = {}
        self._last: dict[str, tuple[int, float]] = {}

    def apply(self, record: Record, revision: Revision) -> None:
        """Take over a revision."""
        before = self._in_force()
        if revision.injection is not None:
            self.injected = revision.injection.names
        for region in revision.regions:
            self._change(region, revision.canary)
        passed = [region_id for region_id, name in self._regions.items() if name == revision.passed]
        for region_id in passed:
            self._incumbents.pop(region_id, None)
        for name in before - self._in_force():
            self._last[name] = record.offset, record.written_at or 0.0

    def of_regions(self) -> Iterator[str]:
        """Versions of live regions, and of the incumbents of trials."""
        yield from self._regions.values()
        yield from self._incumbents.values()

    def left(self) -> Mapping[str, tuple[int, float]]:
        """Versions that are not in force any more."""
        now = self._in_force()
        return {name: when for name, when in self._last.items() if name not in now}

    def _in_force(self) -> set[str]:
        return {*self.of_regions(), *self.injected}

    def _change(self, region: Region, canary: float) -> None:
        """A trial begins with another adapter and a share, and ends with another adapter without one."""
        before = self._regions.pop(region.region_id, None)
        incumbent = self._incumbents.pop(region.region_id, before)
        if region.status is not Status.LIVE or region.adapter is None:
            return
        self._regions[region.region_id] = region.adapter
        on_trial = canary > 0 if region.adapter != before else incumbent != before
        if on_trial and incumbent is not None:
            self._incumbents[region.region_id] = incumbent


def _pins(log: Log) -> Mapping[int, str]:
    """Version that each pinned region is held at."""
    pins: dict[int, str] = {}
    for act in readable(new_records(log, CONTROL, 0), _act, unreported):
        if act is not None and act.act == PIN and act.region_id is not None:
            pins.pop(act.region_id, None)
            if act.adapter is not None:
                pins[act.region_id] = act.adapter
    return pins


def _revision(record: Record) -> Revision:
    return Revision.from_record(record.value or {})


def _act(record: Record) -> ControlAct | None:
    return None if record.value is None else ControlAct.from_record(record.value)
