"""The monitor's course: what it makes of the log, one step after another.

A step says how far to read. In every step, in this order:

    1. regions as they are in `regions`;
    2. outcomes, in order of their offsets;
    3. records of `gated`, in order of theirs;
    4. edits.

The same steps from the same start give the same edits, whichever process takes them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from consumers.monitor.changelog import ReadPositions
from consumers.runtime.lockstep import settled
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import value_of
from pipeline.config import Config
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.gated import GatedEvent
from pipeline.monitor import Monitor
from pipeline.monitor.snapshot import restore, snapshot
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import EDITS, OUTCOMES

MOST_ROUNDS = 16
"""Rounds of edits that one batch can set off in lockstep, as in a replay."""

OF_ONE_REGION = (Operation.UPDATE, Operation.ADD)
"""Edits that train: trainers share them by region. The others move boundaries, and come one at a time."""


class MonitorDriver:
    """One monitor on its way through the log.

    Args:
        setup: what everything starts from.
        config: the whole tree.
        seed: of everything random, and of the edits' trainings.

    Attributes:
        at: how far it has read.
        monitor: decides.
        caused: edits that a revision read so far came from.
    """

    def __init__(self, setup: SetUp, config: Config, seed: int) -> None:
        self.at = ReadPositions()
        self.monitor = Monitor(config, setup.bank, setup.calibration, seed)
        self.caused: set[str] = set()
        self._bank = setup.bank
        self._revisions = RevisionFollower()
        self._lockstep = config.consumers.lockstep
        self._waiting: list[Edit] = []
        self._rounds = 0
        self._settled = 0

    def state(self) -> dict[str, Any]:
        """Everything that cannot be read from `regions`, as a JSON object."""
        return {
            "monitor": snapshot(self.monitor),
            "waiting": [edit.edit_id for edit in self._waiting],
            "rounds": self._rounds,
            "settled": self._settled,
        }

    def continue_from(self, state: Mapping[str, Any], at: ReadPositions, log: Log) -> None:
        """Put a course that has read nothing to where another one wrote its state down."""
        self._take_regions(log, at.regions)
        restore(self.monitor, state["monitor"], self._bank)
        self._waiting = [self.monitor.pending[edit_id] for edit_id in state["waiting"]]
        self._rounds, self._settled = state["rounds"], state["settled"]
        self.at = at

    def take(self, step: ReadPositions, log: Log, gated: Iterable[Record]) -> list[Output]:
        """Take in all up to a step, and decide.

        Args:
            step: how far.
            log: for `regions` and `outcomes`.
            gated: records since the last step.

        Returns:
            Edits, and in lockstep the word that a batch is settled.
        """
        self._take_regions(log, step.regions)
        self.monitor.follow(self._bank)
        for record in log.read(OUTCOMES, 0, self.at.outcomes, step.outcomes):
            self.monitor.settle(Outcome.from_record(value_of(record)), self._bank)
        for record in gated:
            self.monitor.observe(GatedEvent.from_record(value_of(record)), record.offset)
        self.at = step
        if self._lockstep:
            return self._one_at_a_time()
        return [_asked(edit) for edit in self.monitor.decide()]

    @property
    def has_more_to_say(self) -> bool:
        """Whether another step may say something although there is nothing new to read."""
        return self._lockstep and self.at.whole and self._settled < self.at.gated and not self._in_flight

    @property
    def _in_flight(self) -> bool:
        """Whether an edit is with the trainers."""
        return len(self.monitor.pending) > len(self._waiting)

    def _one_at_a_time(self) -> list[Output]:
        """In lockstep an edit is carried out on what the one before has left."""
        if self._in_flight or not self.at.whole or self._settled == self.at.gated:
            return []
        if not self._waiting and self._rounds < MOST_ROUNDS:
            self._waiting = self.monitor.decide()
            self._rounds += 1
        if self._waiting:
            return [_asked(self._waiting.pop(0))]
        self._settled, self._rounds = self.at.gated, 0
        return [settled(self.at.gated, self.monitor.timestamp)]

    def _take_regions(self, log: Log, end: int) -> None:
        for _, revision in self._revisions.poll(log, until=end):
            self._bank = revision.after(self._bank)
            self.caused.add(revision.edit_id or "")


def _asked(edit: Edit) -> Output:
    key = str(edit.region_id) if edit.operation in OF_ONE_REGION else "gate"
    return Output(EDITS, edit.to_record(), key, edit.timestamp)
