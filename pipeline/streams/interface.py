"""The log: the one narrow interface between the stages and whatever carries their records.

    Log ──► Producer ──► Transaction     all of its records and offsets become visible, or none does
     └────► Consumer                     committed records only, from the group's committed offset on

The shape is that of Kafka's transactions, so that a broker and a file can stand behind it alike:

- an *offset* numbers the records of one partition; it only grows, and may skip numbers (aborted
  transactions and compaction leave gaps), so it orders records and names them but never counts them;
- a *position* is the next offset to read; *lag* is end minus position;
- values are JSON objects, written in one canonical form (`pipeline.streams.codec`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.errors import LogError

TopicPartition = tuple[str, int]
"""Topic name and partition number, from 0."""

Kept = Literal["forever", "while needed", "compacted"]
"""`forever`: all records. `while needed`: old ones may be deleted once every reader has passed them.
`compacted`: at least the newest record of each key."""


class FencedError(LogError):
    """A newer producer of the same id, or consumer of the same instance, took over: stop this one."""


class PartitionLostError(LogError):
    """The consumer's group gave the partition to another member: drop the batch and poll again."""


class UnavailableError(LogError):
    """The log does not answer: what was asked for may have happened or not.

    Whoever gets it drops what it holds in memory and starts over: first a new producer of the same id, which
    settles the last transaction, then a new consumer and state restored up to the committed offsets.
    """


class RecordsLostError(LogError):
    """Records were deleted before they were read; the message names their offsets."""


class OversizeError(LogError):
    """A record is longer than the log takes.

    Attributes:
        stub: what can be written in its place, to the dead letters for instance: reason, bytes and sha256.
    """

    def __init__(self, message: str, stub: Mapping[str, object]) -> None:
        self.stub = stub
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Topic:
    """A named stream of records.

    Attributes:
        name: names the topic.
        partitions: how many independently ordered parts it has, at least 1.
        kept: for how long its records stay.
        key: what the key of a record is, for a person to read.
    """

    name: str
    partitions: int = 1
    kept: Kept = "forever"
    key: str = ""

    def __post_init__(self) -> None:
        if self.partitions < 1:
            raise LogError(f"topic {self.name} needs at least 1 partition, not {self.partitions}")


@dataclass(frozen=True, slots=True)
class Record:
    """One committed record.

    Attributes:
        topic: topic name.
        partition: partition number.
        offset: its number in the partition.
        key: what it is about, or None.
        value: a JSON object; None is a tombstone, the end of what the key stood for.
        timestamp: event time in seconds since 1970 UTC, kept to the millisecond.
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    value: Mapping[str, object] | None
    timestamp: float


class Consumer(Protocol):
    """One member of a consumer group; it reads the partitions that the group gives it.

    Partitions come and go only inside `poll`: whoever keeps state compares `claims` after each
    poll, before handling what it returned. A partition that comes starts at its committed offset and is
    not paused; so does one that went and came back.
    """

    @property
    def assignment(self) -> list[TopicPartition]:
        """The partitions this member reads, sorted."""

    def claims(self) -> Mapping[TopicPartition, int]:
        """For each partition assigned a number that is another one whenever the partition came anew.

        Between two polls a partition can go, be read by another member, and come back: the assignment looks
        the same then, and state kept from before is stale.
        """

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Return the next records, at most `max_records`, waiting up to `timeout` seconds for the first.

        Records of one partition come in order of their offsets; partitions take turns.

        Raises:
            RecordsLostError: if records were deleted before this group read them; the message names them.
            FencedError: if a newer consumer of the same instance took over.
        """

    def position(self, topic: str, partition: int) -> int:
        """Return the next offset to read. The partition must be assigned."""

    def committed(self, topic: str, partition: int) -> int:
        """Return where a restart continues: the committed offset, or the first kept if there is none."""

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue at `offset`. The partition must be assigned."""

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Return no records of these from `poll` until `resume`; membership is kept up all the same."""

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Take up paused partitions where they stood."""

    def lag(self) -> int:
        """Return end minus position, summed over the assignment."""

    def close(self) -> None:
        """Leave the group, so that others take the partitions over at once. Commits nothing."""


class Transaction(Protocol):
    """Records and offsets that become visible together.

    Attributes:
        offsets: (topic, partition, offset) of each record in order of `send`; empty before the commit.
    """

    offsets: list[tuple[str, int, int]]

    def send(
        self,
        topic: str,
        value: Mapping[str, object] | None,
        *,
        key: str | None = None,
        partition: int | None = None,
        timestamp: float,
    ) -> None:
        """Add a record.

        Args:
            topic: an existing topic.
            value: a JSON object without NaN or infinity, or None for a tombstone.
            key: what it is about; needed in compacted topics.
            partition: where to; by default a stable hash of the key decides, and 0 takes keyless records.
            timestamp: event time in seconds since 1970 UTC.

        Raises:
            LogError: if the record cannot be written as asked; the transaction is not harmed by it.
        """

    def commit_offsets(self, consumer: Consumer) -> None:
        """Add the consumer's positions as they stand now: its group's committed offsets from here on."""


class Producer(Protocol):
    """Writes transactions, one at a time."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction: committed when the block ends, aborted when it raises.

        Raises:
            FencedError: at the commit at the latest, if a newer producer of the same id exists.
            PartitionLostError: at the commit, if committed positions are of partitions the group took away.
            UnavailableError: at the commit, if the log did not answer in time: committed or not, nobody knows yet.
        """


class Log(Protocol):
    """Topics of records, written in transactions and read by consumer groups."""

    def create_topics(self, topics: Iterable[Topic]) -> None:
        """Create what is not there yet.

        Raises:
            LogError: if a topic exists with another number of partitions or another way of keeping.
        """

    def problems(self, topics: Iterable[Topic]) -> list[str]:
        """Return how the topics there are fall short of these, one line each; empty if all is well."""

    def producer(self, transactional_id: str) -> Producer:
        """Return a new producer; older ones of the same id are fenced from now on."""

    def consumer(self, group: str, topics: Sequence[str], instance: str) -> Consumer:
        """Join a consumer group.

        Args:
            group: names the group; each group reads everything once.
            topics: what to read.
            instance: names this member, the same after a restart: a new consumer replaces the older one.
        """

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Return the committed records with start <= offset < end, by offset, outside any group.

        Raises:
            RecordsLostError: at the call, naming exactly which of the offsets asked for are already deleted.
        """

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset after the last committed record."""

    def committed(self, group: str, topic: str, partition: int) -> int:
        """Return a group's committed offset, or the first kept if there is none; the group is not joined."""

    def close(self) -> None:
        """Let go of everything held. The log cannot be used afterwards."""
