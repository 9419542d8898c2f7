"""Schedule of refreshes: one is due when the set-up is old, or when edits no longer pay."""

from collections.abc import Callable
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


class Schedule:
    """Tells when a refresh is due.

    Args:
        root: folder of any generation's set-up.
        settings: of refreshes.
        clock: seconds since 1970.
    """

    def __init__(self, root: Path, settings: RefreshSettings, clock: Callable[[], float]) -> None:
        self._root, self._settings, self._clock = root, settings, clock

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
        since = [r for r in new_records(log_in(log, active), OUTCOMES, 0) if (r.written_at or 0.0) > last]
        outcomes = list(readable(since, _outcome, unreported))
        rejected = sum(not outcome.published for outcome in outcomes)
        return len(outcomes) >= self._settings.after_edits and rejected >= share * len(outcomes)


def _outcome(record: Record) -> Outcome:
    return Outcome.from_record(value_of(record))
