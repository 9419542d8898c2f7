"""Schedule of refreshes: one is due when the set-up is old, or when edits no longer pay."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from consumers.runtime.generations import folder_of, log_in
from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import RefreshSettings
from pipeline.events.edit import Outcome
from pipeline.events.generation import Generations
from pipeline.setup.storage import MANIFEST
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import OUTCOMES

SCHEDULE = "schedule"
"""Name under which the schedule acts."""

DAY = 86_400.0
"""Seconds of a day."""


@dataclass
class Read:
    """Outcomes that were read: a schedule is asked twice a second, and a generation has outcomes of months.

    Attributes:
        generation: whose they are.
        last: time of the last refresh, seconds since 1970.
        position: next offset of `outcomes`.
        published: of each since then, True if it was published.
    """

    generation: int = 0
    last: float = 0.0
    position: int = 0
    published: list[bool] = field(default_factory=list)


class Schedule:
    """Tells when a refresh is due.

    Args:
        root: folder of any generation's set-up.
        settings: of refreshes.
        clock: seconds since 1970.
    """

    def __init__(self, root: Path, settings: RefreshSettings, clock: Callable[[], float]) -> None:
        self._root, self._settings, self._clock = root, settings, clock
        self._read = Read()

    def is_due(self, log: Log, generations: Generations) -> bool:
        """True while a refresh should run; one that was begun by the schedule goes on, one of somebody else is left."""
        if generations.begun:
            return any(one.by == SCHEDULE for one in generations.begun)
        last = max(one.since for one in generations.all.values())
        return self._is_old(generations, last) or self._pays_no_more(log, generations.active.number, last)

    def _is_old(self, generations: Generations, last: float) -> bool:
        """Age of the set-up, or of the last refresh that was refused."""
        days = self._settings.every_days
        if days is None:
            return False
        made = (folder_of(self._root, generations.active) / MANIFEST).stat().st_mtime
        return self._clock() - max(made, last) >= DAY * days

    def _pays_no_more(self, log: Log, active: int, last: float) -> bool:
        """Share of rejected edits since the last refresh."""
        share = self._settings.when_rejected
        if share is None:
            return False
        if (self._read.generation, self._read.last) != (active, last):
            self._read = Read(active, last)
        published = self._read.published
        for record in new_records(log_in(log, active), OUTCOMES, self._read.position):
            self._read.position = record.offset + 1
            if (record.written_at or 0.0) > last:
                published += [outcome.published for outcome in readable([record], _outcome, unreported)]
        rejected = len(published) - sum(published)
        return len(published) >= self._settings.after_edits and rejected >= share * len(published)


def _outcome(record: Record) -> Outcome:
    return Outcome.from_record(value_of(record))
