"""Adapter versions in force by the log: those that answer now, and those that answered at each revision before."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import new_records
from pipeline.events.control import PIN, ControlAct
from pipeline.regions.region import Region, Status
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import CONTROL, REGIONS

Names = frozenset[str]


@dataclass(frozen=True)
class AdaptersInForce:
    """Versions that answer, or did.

    Attributes:
        regions: of live regions, injected items, and incumbents of trials.
        pinned: that a region is pinned to, on every server.
        left: every other version that a revision names and no Unlearn destroyed -> wall clock of the revision that put
            another one in its place, in seconds since 1970; 0 where the log does not have it.
        published: edit that a revision carries out -> `next_revision` that it was applied to, and the versions that
            the revision names; revisions of a replay are left out.
        history: (offset of a revision, versions in force from then on), by offset.
    """

    regions: Names
    pinned: Names
    left: Mapping[str, float]
    published: Mapping[str, tuple[int, Names]]
    history: Sequence[tuple[int, Names]]

    @property
    def all(self) -> Names:
        """All versions that answer."""
        return self.regions | self.pinned

    def at(self, next_revision: int) -> Names:
        """Versions in force before an offset of `regions`."""
        place = bisect_left(self.history, next_revision, key=lambda entry: entry[0])
        return self.history[place - 1][1] if place else frozenset()


def read_adapters_in_force(log: Log) -> AdaptersInForce:
    """Read which versions are in force; records of other programs are passed over."""
    use, history, left = _Use(), list[tuple[int, Names]](), dict[str, float]()
    published: dict[str, tuple[int, Names]] = {}
    before, destroyed = Names(), set[str]()
    for record in new_records(log, REGIONS, 0):
        for revision in readable([record], _revision, unreported):
            use.apply(revision)
            now = use.in_force()
            # What an Unlearn trained in the place of a version out of force was never in force, and may be yet.
            left |= dict.fromkeys((before - now) | revision.replacements, record.written_at or 0.0)
            destroyed.update(revision.destroyed)
            history.append((record.offset, now))
            before = now
            if revision.edit_id is not None and revision.base_revision is not None:
                published[revision.edit_id] = revision.base_revision, _named(revision)
    pinned = frozenset(_pins(log).values()) - destroyed
    gone = {name: since for name, since in left.items() if name not in before | pinned | destroyed}
    return AdaptersInForce(before, pinned, gone, published, history)


class _Use:
    """Versions in force while revisions are read in order."""

    def __init__(self) -> None:
        self._injected: Collection[str] = ()
        self._regions: dict[int, str] = {}
        self._incumbents: dict[int, str] = {}

    def apply(self, revision: Revision) -> None:
        """Take over a revision."""
        if revision.injection is not None:
            self._injected = revision.injection.names
        for region in revision.regions:
            self._change(region, revision.canary)
        for region_id in [region_id for region_id, name in self._regions.items() if name == revision.passed]:
            self._incumbents.pop(region_id, None)

    def in_force(self) -> Names:
        """Versions of live regions, of the incumbents of trials, and of injected items."""
        return frozenset([*self._regions.values(), *self._incumbents.values(), *self._injected])

    def _change(self, region: Region, canary: float) -> None:
        """Change a region: another adapter with a share of users begins a trial, one without ends it."""
        before = self._regions.pop(region.region_id, None)
        incumbent = self._incumbents.pop(region.region_id, None)
        if region.status is not Status.LIVE or region.adapter is None:
            return
        self._regions[region.region_id] = region.adapter
        replaced = region.adapter != before
        if replaced and canary > 0:
            incumbent = incumbent or before
        if incumbent is not None and (canary > 0 or not replaced):
            self._incumbents[region.region_id] = incumbent


def _named(revision: Revision) -> Names:
    regions = [region.adapter for region in revision.regions if region.adapter]
    return frozenset([*regions, *(revision.injection.names if revision.injection else ())])


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
