"""Interface of a stage to the loop that runs it: records in, records out, state by partition."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pipeline.streams.interface import Consumer, Log, Record, TopicPartition


class Point(StrEnum):
    """Points of a turn, in order, at which tests kill the process.

    The loop passes all of them but `SAVING`, which a stage passes itself where it writes files.
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
"""Function called at each point that a turn passes."""


def live_on(_: Point) -> None:
    """Do nothing: the function that production uses at every point."""


@dataclass(frozen=True, slots=True)
class Output:
    """A record to write; the fields are those of `Transaction.send`, and one that is not written.

    Attributes:
        since: wall clock at which the step began that ends with this record, in seconds since 1970, for the metrics
            of freshness; None if it is not known.
        traceparent: trace context of the record that it follows from, or None.
    """

    topic: str
    value: Mapping[str, object] | bytes | None
    key: str | None
    timestamp: float
    partition: int | None = None
    since: float | None = field(default=None, compare=False)
    traceparent: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the loop.

    Attributes:
        records: result of the poll, in order within each partition; may be empty.
        consumer: its positions are committed after the turn; a stage may pause, resume and seek.
        log: for reads outside the group (`regions`, windows by offset).
    """

    records: Sequence[Record]
    consumer: Consumer
    log: Log


class Stage(Protocol):
    """Gate, monitor or trainer: its input topics, its state by partition, and the records it writes in a turn.

    All state is either restored from the log by `restore`, or may be lost at any time.
    """

    @property
    def name(self) -> str:
        """Name of the stage, and of its consumer group."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics that the group reads."""

    def prepare(self, log: Log) -> None:
        """Restore what does not depend on the assignment, before the process joins its group.

        Where there are other members no event waits for it, as they have the partitions until then, but for those of a
        process of the same instance that ended less than a session ago. Older processes of the instance are fenced.

        Raises:
            UnavailableError: it is left to `restore`.
        """

    def stand_by(self, turn: Turn) -> None:
        """Keep what was prepared up to date, without a wait; called in place of `handle` while no partition is held."""

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        """Restore the state of partitions that were assigned.

        Args:
            came: partition -> committed offset. Changelog records tagged with a later input are ignored.
            log: has the changelog.
        """

    def drop(self, went: Collection[TopicPartition]) -> None:
        """Discard the state of partitions, and their events that wait.

        After a lost batch every partition is dropped and restored: the batch has changed state in memory.
        """

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        """Handle the records of a turn in memory; called at every turn, so work between polls is done here, too.

        Not called while no partition is held: without positions to commit, the log could not fence the output.

        Returns:
            Records to write in one transaction with the positions of `turn.consumer`; None to wait for more records
            before writing (positions stay uncommitted until a later turn returns a sequence).
        """

    def close(self) -> None:
        """Release all resources; the stage cannot be used afterwards."""
