"""What a stage of the pipeline is to the loop that runs it: values in, records out, state by partition."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pipeline.streams.interface import Consumer, Log, Record, TopicPartition


class Point(StrEnum):
    """Places at which a process may die, in the order in which a turn passes them.

    Tests kill there; a stage announces `SAVING` itself, where it writes files.
    """

    POLLED = "polled"
    RESTORED = "restored"
    HANDLING = "handling"
    SAVING = "saving"
    HANDLED = "handled"
    PUBLISHING = "publishing"
    COMMITTING = "committing"
    COMMITTED = "committed"


KillPoint = Callable[[Point], None]
"""Told of each point that is passed."""


def live_on(_: Point) -> None:
    """Do nothing: what production does at every point."""


@dataclass(frozen=True, slots=True)
class Output:
    """A record to write; the fields are those of `Transaction.send`."""

    topic: str
    value: Mapping[str, object] | None
    key: str | None
    timestamp: float
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the loop.

    Attributes:
        records: what the poll returned, in order within each partition; none when nothing came.
        consumer: whose positions are committed after the turn; a stage may pause, resume and seek.
        log: for reading beside the group (`regions`, windows by offset).
    """

    records: Sequence[Record]
    consumer: Consumer
    log: Log


class Stage(Protocol):
    """Gate, monitor or trainer: what it reads, the state it owns by partition, and what a turn makes of it.

    Everything that a stage remembers is either made anew from the log by `restore`, or may be lost at any time.
    """

    @property
    def name(self) -> str:
        """Names the stage, and its consumer group."""

    @property
    def topics(self) -> Sequence[str]:
        """What the group reads."""

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        """Make the state of partitions that came.

        Args:
            came: partition -> committed offset. Changelog records tagged with a later input are not looked at.
            log: to read the changelog.
        """

    def drop(self, went: Collection[TopicPartition]) -> None:
        """Forget the state of partitions, and what of a batch is waiting from them.

        Where a batch was lost, every partition goes and then comes again: what it changed in memory must not stay.
        """

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        """Handle the records of a turn in memory; called at every turn, so work between polls is done here too.

        Not called while no partition is held: nothing but a partition's positions tells the log whose word counts.

        Returns:
            What to write, in one transaction with the positions of `turn.consumer`; None to wait for more records
            before anything is written (positions stay uncommitted until a later turn returns a sequence).
        """

    def close(self) -> None:
        """Let go of everything held. Nothing more may be asked of it."""
