"""Adapter versions and canary trials that the log has, so that invented feedback is told apart.

A server answers with a revision only after it has read it. Read up to its end once feedback was polled, `regions`
therefore has every version and trial that this feedback can be about, and `control` every pinned one.
"""

from collections.abc import Collection

from adapters_store import ArrayFiles
from adapters_store.errors import StoreError
from consumers.runtime.malformed import MALFORMED
from consumers.runtime.topic_reader import new_records
from consumers.server.views.region_history import RegionHistory
from pipeline.events.control import PIN, ControlAct
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import CONTROL, REGIONS


class KnownVersions:
    """Versions that are or were live or pinned, and the trials under way.

    Args:
        setup: region ids of the set-up.
        files: array files of the adapters store.
    """

    def __init__(self, setup: Collection[int], files: ArrayFiles) -> None:
        self._regions, self._files = set(setup), files
        self._versions: set[tuple[int, str]] = set()
        self._history = RegionHistory.of([], files)
        self._positions = {REGIONS: 0, CONTROL: 0}

    @property
    def trials(self) -> Collection[tuple[int, int]]:
        """(region id, revision that started it) of every trial under way."""
        return [(canary.region_id, canary.since) for canary in self._history.canaries.values()]

    def has(self, region_id: int, adapter: str | None, revision: int) -> bool:
        """True where a server can have answered with this version of a region, None the backbone, at a revision."""
        known = region_id in self._regions and (adapter is None or (region_id, adapter) in self._versions)
        return known and revision < self._positions[REGIONS]

    def poll(self, log: Log) -> None:
        """Read new records of `regions` and `control`; those that cannot be read are skipped.

        A revision whose arrays cannot be read is read again at the next call: no server of this store answers with it.

        Raises:
            UnavailableError: the log is out of reach.
        """
        for topic, add in ((REGIONS, self.add_revision), (CONTROL, self._add_act)):
            for record in new_records(log, topic, self._positions[topic]):
                try:
                    add(record)
                except StoreError:
                    break
                except MALFORMED:
                    # The follower counts it when it polls the record.
                    pass
                self._positions[topic] = record.offset + 1

    def add_revision(self, record: Record) -> None:
        """Add a record of `regions`."""
        self._history = self._history.after([record], self._files)
        for region in self._history.bank.regions:
            self._regions.add(region.region_id)
            if region.adapter is not None:
                self._versions.add((region.region_id, region.adapter))

    def _add_act(self, record: Record) -> None:
        act = None if record.value is None else ControlAct.from_record(record.value)
        if act is not None and act.act == PIN and act.region_id is not None and act.adapter is not None:
            self._versions.add((act.region_id, act.adapter))
