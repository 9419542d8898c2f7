"""Driver of the monitor: reads the log in steps, and hands what it read to the monitor.

A step is a `ReadPositions`. Each step reads in this order:

    1. `regions`: the regions are replaced by the present ones;
    2. `items` and `outcomes`, in order of offsets;
    3. `gated`, in order of offsets; a tombstone erases the user of its key, a request has the user unlearned;

and then writes the arrivals and evictions of items, and the edits that are due. The same steps from the same start give
the same edits in every process.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from adapters_store import AdaptersStore
from consumers.monitor.changelog import ReadPositions
from consumers.monitor.items import OwnedItems
from consumers.runtime.lockstep import settled
from consumers.runtime.malformed import OnSkipped, readable
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import value_of
from pipeline.config import Config
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.gated import GatedEvent
from pipeline.events.unlearning import is_unlearning_request
from pipeline.monitor import Monitor
from pipeline.monitor.snapshot import restore, snapshot
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import EDITS, OUTCOMES

MAX_ROUNDS = 16
"""Decisions after one batch in lockstep, as in a replay."""

OF_ONE_REGION = (Operation.UPDATE, Operation.INJECT)
"""Edits that trainers share by region; injections have one of their own. One trainer takes the others, in order."""


class MonitorDriver:
    """One monitor and its position in the log.

    Args:
        setup: initial regions and calibration.
        config: the whole tree.
        store: has the arrays of revisions that are too large for their records.
        seed: of everything random, and of the edits' trainings.
        on_skipped: called with each record of another program.

    Attributes:
        at: positions read so far.
        monitor: decides on edits.
        items: the catalogue's owner.
        published_edits: ids of the edits that revisions read so far came from.
    """

    def __init__(self, setup: SetUp, config: Config, store: AdaptersStore, seed: int, on_skipped: OnSkipped) -> None:
        self.at = ReadPositions()
        self.monitor = Monitor(config, setup.bank, setup.calibration, seed, setup.catalogue.item_ids)
        self.published_edits: set[str] = set()
        self._bank = setup.bank
        self._on_skipped = on_skipped
        self._revisions = RevisionFollower(setup.bank, store.arrays, on_skipped)
        self._lockstep = config.consumers.lockstep
        self._setup_items = setup.catalogue.item_ids
        self.items = OwnedItems(setup.catalogue.item_ids, config)
        self._queued: list[Edit] = []
        self._rounds = 0
        self._settled = 0

    def state(self) -> dict[str, Any]:
        """All state that cannot be read from `regions`, as a JSON object."""
        return {
            "monitor": snapshot(self.monitor),
            "waiting": [edit.edit_id for edit in self._queued],
            "rounds": self._rounds,
            "settled": self._settled,
            "items": self.items.state(),
        }

    def restore(self, state: Mapping[str, Any], at: ReadPositions, log: Log) -> None:
        """Put a new driver into a state from `state`, which was recorded at these positions."""
        self._apply_revisions(log, at.regions)
        restore(self.monitor, state["monitor"], self._bank)
        self._queued = [self.monitor.pending[edit_id] for edit_id in state["waiting"]]
        self._rounds, self._settled = state["rounds"], state["settled"]
        # Snapshots of schema 1 know no items: those of set-up are known, and `items` is read from its start.
        if "items" in state:
            self.items.restore(state["items"])
        self.at = at

    def apply(self, step: ReadPositions, log: Log, gated: Iterable[Record]) -> list[Output]:
        """Read up to a step, and decide.

        Args:
            step: positions to read up to.
            log: for `regions` and `outcomes`.
            gated: records since the last step.

        Returns:
            Arrivals and evictions of items, dead letters of bad records of items, and edits; in lockstep edits come in
            later steps, one in each, and after the last one the record that the batch is settled.
        """
        self._apply_revisions(log, step.regions)
        self.monitor.set_bank(self._bank)
        outputs = self.items.read(log, self.at.items, step.items)
        outcomes = log.read(OUTCOMES, 0, self.at.outcomes, step.outcomes)
        for outcome in readable(outcomes, _outcome_of, self._on_skipped):
            self.monitor.apply(outcome, self._bank)
        for offset, event in readable(gated, self._event_of, self._on_skipped):
            if event is None:
                self.monitor.unlearn(offset)
                continue
            if isinstance(event, str):
                self.monitor.erase(event)
                continue
            outputs += self.items.observe(event)
            self.monitor.observe(event, offset)
        evicted = self.items.evict() if step.whole and step.gated > self.at.gated else []
        outputs += self.items.evictions_of(evicted)
        self.monitor.note_items(self.items.take_begun(), evicted)
        self.at = step
        if self._lockstep:
            # A broker may show the records of one transaction one by one: whoever reads an edit, or the end of a batch,
            # must find what became of the items before it.
            return outputs or self._next_in_lockstep()
        while edits := self.monitor.decide():
            outputs += [_edit_output(edit) for edit in edits]
        return outputs

    def correct(self, written: Sequence[Edit], made: Collection[str], log: Log, since: int) -> None:
        """Put the edits that were written in the place of those that a repetition has decided at the present event.

        Args:
            written: the edits in the log.
            made: ids of those that were decided again.
            log: for `outcomes`.
            since: first offset of `outcomes` that was read after the event.
        """
        unknown = [edit for edit in written if edit.edit_id not in made]
        self.monitor.correct(unknown, set(made) - {edit.edit_id for edit in written})
        if unknown:
            ids = {edit.edit_id for edit in unknown}
            for outcome in readable(log.read(OUTCOMES, 0, since, self.at.outcomes), _outcome_of, self._on_skipped):
                if outcome.edit_id in ids:
                    self.monitor.apply(outcome, self._bank)

    @property
    def has_more_outputs(self) -> bool:
        """True if another step may give outputs without new records."""
        return self._lockstep and self.at.whole and self._settled < self.at.gated and not self._in_training

    @property
    def _in_training(self) -> bool:
        """True while an edit that was written has no outcome."""
        return len(self.monitor.pending) > len(self._queued)

    def _next_in_lockstep(self) -> list[Output]:
        """In lockstep an edit starts from the regions that the one before has left."""
        if self._in_training or not self.at.whole or self._settled == self.at.gated:
            return []
        if not self._queued and self._rounds < MAX_ROUNDS:
            self._queued = self.monitor.decide()
            self._rounds += 1
        if self._queued:
            return [_edit_output(self._queued.pop(0))]
        self._settled, self._rounds = self.at.gated, 0
        return [settled(self.at.gated, self.monitor.timestamp)]

    def _event_of(self, record: Record) -> tuple[int, GatedEvent | str | None]:
        """Offset of a record of `gated`, and its event; for a tombstone the user who was erased, None for a request."""
        if is_unlearning_request(record):
            return record.offset, None
        if record.value is None:
            return record.offset, str(record.key)
        event = GatedEvent.from_record(record.value, self._setup_items)
        for region_id in (event.region_id, event.setup_region):
            self._bank[region_id]
        return record.offset, event

    def _apply_revisions(self, log: Log, end: int) -> None:
        for _, revision in self._revisions.poll(log, until=end):
            self._bank = revision.after(self._bank)
            if revision.unlearned is not None:
                self.monitor.forget(revision.unlearned.windows)
            self.published_edits.add(revision.edit_id or "")


def _outcome_of(record: Record) -> Outcome:
    return Outcome.from_record(value_of(record))


def _edit_output(edit: Edit) -> Output:
    key = str(edit.region_id) if edit.operation in OF_ONE_REGION else "gate"
    return Output(EDITS, edit.to_log(), key, edit.timestamp)
