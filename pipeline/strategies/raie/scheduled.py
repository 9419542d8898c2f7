"""RAIE with scheduled training: edits at fixed times instead of at alarms, at equal training cost."""

from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import ClassVar, NamedTuple

from pipeline.events.edit import Edit, Evidence, Operation, Outcome, held_out
from pipeline.events.gated import GatedEvent
from pipeline.events.windows import Windows
from pipeline.monitor import Monitor
from pipeline.monitor.edit_factory import Proposal, reason_of
from pipeline.monitor.rules.expand import audit, refit
from pipeline.monitor.rules.merge import merge
from pipeline.monitor.rules.retire import retire
from pipeline.monitor.visits import record_peaks
from pipeline.regions.bank import RegionBank
from pipeline.strategies.base import Scored, StrategyContext
from pipeline.strategies.raie.replayed import Raie

SCHEDULED = "schedule"
"""Signal of a scheduled edit."""

LEAST = 32
"""Fewest windows of an edit; with fewer, it waits for the next date."""


class Untrained(NamedTuple):
    """A window that no edit has trained on yet, and the stream regions that took part in its answer."""

    evidence: Evidence
    route: tuple[int, ...]


class ScheduledMonitor(Monitor):
    """Monitor that trains on fixed dates and moves boundaries as their evidence grows; alarms are ignored."""

    def __init__(self, context: StrategyContext) -> None:
        setup = context.setup
        super().__init__(context.config, setup.bank, setup.calibration, context.seed, setup.catalogue.item_ids)
        self._allowed = 0
        self._untrained: list[Untrained] = []
        self._under_way: dict[str, list[Untrained]] = {}

    def observe(self, event: GatedEvent, offset: int) -> None:
        """See `Monitor.observe`."""
        super().observe(event, offset)
        if not event.cold:
            evidence = Evidence(event.event_id, offset, event.region_id)
            self._untrained.append(Untrained(evidence, tuple(event.route)))

    def allow(self, passes: int) -> None:
        """Set the cost of the edits of a date: windows trained on, counting each pass."""
        self._allowed = max(passes, 0)

    def decide(self) -> list[Edit]:
        """Return the training edit of a date, or else an edit that needs no alarm; and injections as they are due."""
        state = self.state
        if state.pending:
            return []
        if injections := self._of_items():
            return [self._request(injection) for injection in injections]
        edit = self._scheduled()
        if edit is None:
            rules = (retire, merge, refit, audit)
            proposal = next(chain.from_iterable(rule(state) for rule in rules), None)
            record_peaks(state, proposal)
            edit = self._request(proposal) if proposal else None
        return [edit] if edit else []

    def apply(self, outcome: Outcome, bank: RegionBank) -> None:
        """See `Monitor.apply`: windows of a rejected edit, and held-out windows, are still to be learned."""
        if outcome.edit_id in self._under_way:
            chosen = self._under_way.pop(outcome.edit_id)
            judged = held_out({"signal": SCHEDULED}, len(chosen), self.state.config.edits) | (not outcome.published)
            self._untrained += [window for window, unlearned in zip(chosen, judged, strict=True) if unlearned]
        super().apply(outcome, bank)

    def _scheduled(self) -> Edit | None:
        """Add the first stream region, or Update the largest one, at no more than the allowed cost."""
        state = self.state
        target = state.largest_stream_region()
        region_id = target.region_id if target else state.next_region_id
        chosen = self._choose(region_id)
        if not chosen:
            self._allowed = 0
            return None
        self._allowed -= self._cost(len(chosen))
        evidence = [u.evidence.for_region(region_id) for u in chosen]
        reason = reason_of(None, SCHEDULED, f"{len(chosen)} windows are learned as scheduled") | {"regions": []}
        operation = Operation.UPDATE if target else Operation.ADD
        region = target.region if target else None
        edit = self._request(Proposal(operation, region, reason, evidence))
        self._under_way[edit.edit_id] = chosen
        return edit

    def _choose(self, region_id: int) -> list[Untrained]:
        """Choose the newest windows not yet trained on, those of the region first, at no more than the allowed cost."""
        count = min(len(self._untrained), self.state.config.edits.pool_windows)
        while count >= LEAST and self._cost(count) > self._allowed:
            count -= 1
        if count < LEAST:
            return []
        ranked = sorted(self._untrained, key=lambda u: (region_id in u.route, u.evidence.offset))
        self._untrained, chosen = ranked[:-count], ranked[-count:]
        return sorted(chosen, key=lambda u: u.evidence.offset)

    def _cost(self, windows: int) -> int:
        """Return the cost of an edit on so many windows; those held out are not trained on."""
        config = self.state.config
        judged = int(held_out({"signal": SCHEDULED}, windows, config.edits).sum())
        return config.training.epochs * (windows - judged)


class RaieScheduled(Raie):
    """RAIE that trains at the end of each update interval, on as many windows as drift-triggered edits did until then.

    The drift-triggered pipeline runs beside it on the same events, only to measure its cost: a run takes twice the
    time of `raie`. `trained_windows` differs from that of `raie` by less than the smallest edit, unless there are too
    few windows left that were not trained on: on a short log, drift-triggered edits can train on all of them twice.
    """

    name: ClassVar[str] = "raie_scheduled"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._meter = Raie(replace(context, folder=context.folder / "meter"))
        self._monitor: ScheduledMonitor = ScheduledMonitor(context)

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        self._meter.observe(windows)
        return super().observe(windows)

    def learn(self) -> None:
        """See `Strategy.learn`: a date for training."""
        self._monitor.allow(self._meter.trained_windows - self.trained_windows)
        while edits := self._monitor.decide():
            for edit in edits:
                self._apply(edit)
        super().learn()

    def close(self) -> None:
        """See `Strategy.close`."""
        with ExitStack() as stack:
            stack.callback(super().close)
            stack.callback(self._meter.close)
