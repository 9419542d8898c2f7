"""Rounds of retention, in a trainer: one owner at a time, that of partition 0 of `edits`.

A version is removed in two rounds. The first marks it: from then on no rollback and no pin can put it in force. One
that had begun before is committed within `GRACE`; so the second round, at least that much later, reads whether it is in
force after all, and removes it or its mark.
"""

from collections.abc import Callable, Mapping

from adapters_store import AdaptersStore
from adapters_store.errors import StoreError
from consumers.retention.plan import Plan, make_plan
from consumers.trainer.orphans import Orphans, find_orphans, remove_orphans
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.streams.interface import Log
from pipeline.telemetry import Metrics

GRACE = 60.0
"""Seconds between the mark of a version and its removal, at least; twice what a commit may take, if that is longer."""


class Pruner:
    """Removes what the pipeline has outlived, every `retention.every` seconds.

    Args:
        store: adapter versions of the pipeline.
        config: the whole tree.
        metrics: counts what was removed and what is held.
        say: shows a status line.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        store: AdaptersStore,
        config: Config,
        metrics: Metrics,
        say: Callable[[str], None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._store, self._config, self._metrics, self._say = store, config, metrics, say
        self._clock, self._wall_clock = clock, wall_clock
        self._grace = max(GRACE, 2 * config.log.commit_seconds)
        self._due = clock() + config.retention.every
        self._marked: dict[str, float] = {}
        self._orphans: dict[str, float] = {}
        self._shown: Mapping[str, str] = {}

    def __call__(self, log: Log) -> None:
        """Do a round if it is due."""
        if self._clock() < self._due:
            return
        self._due = self._clock() + self._config.retention.every
        try:
            self._round(log)
        except (LogError, StoreError) as error:
            self._say(f"{error}; retention is tried again later")

    def _round(self, log: Log) -> None:
        plan = make_plan(log, self._store, self._config.retention, self._wall_clock())
        for cut in plan.cuts:
            if cut.count:
                log.delete_before(cut.topic, cut.partition, cut.until)
                self._count(cut.topic, cut.count, str(cut))
        self._remove_marked(plan)
        self._mark(plan)
        self._remove_orphans(log)
        self._show_held(plan)

    def _remove_marked(self, plan: Plan) -> None:
        """Remove versions that were marked long enough ago, and the marks of those that stay after all."""
        now, marked = self._clock(), self._store.marked()
        self._store.unmark([name for name in marked if name not in plan.versions])
        self._marked = {name: self._marked.get(name, now) for name in marked if name in plan.versions}
        due = [name for name, since in self._marked.items() if now - since >= self._grace]
        if due and (removed := self._store.remove(due)):
            self._count("versions", len(removed), f"versions {', '.join(removed)}")

    def _mark(self, plan: Plan) -> None:
        new = [name for name in plan.versions if name not in self._marked]
        self._store.mark(new)
        self._marked |= dict.fromkeys(new, self._clock())

    def _remove_orphans(self, log: Log) -> None:
        hours = self._config.retention.orphan_hours
        if hours is None:
            return
        found, now = find_orphans(log, self._store), self._clock()
        self._orphans = {name: self._orphans.get(name, now) for name in (*found.versions, *found.arrays)}
        due = {name for name, since in self._orphans.items() if now - since >= 3600 * hours}
        old = Orphans([n for n in found.versions if n in due], [n for n in found.arrays if n in due])
        if due and (removed := remove_orphans(old, self._store)):
            self._count("orphans", len(removed), f"orphans {', '.join(removed)}")

    def _count(self, what: str, number: int, named: str) -> None:
        self._metrics.pruned.labels(what).inc(number)
        self._say(f"retention removed {named}")

    def _show_held(self, plan: Plan) -> None:
        """Show what is beyond its limits and stays, whenever the reason changes."""
        held = dict(plan.held_by_kind())
        for what, (number, why) in held.items():
            self._metrics.held.labels(what).set(number)
            if number and why != self._shown.get(what):
                self._say(f"retention keeps {number:,} {what} beyond the limits: {why}")
        self._shown = {what: why for what, (_, why) in held.items()}
