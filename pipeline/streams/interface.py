"""Interface of a log, the only channel between the stages.

    Log ──► Producer ──► Transaction     all of its records and offsets become visible, or none does
     └────► Consumer                     committed records only, from the group's committed offset on

It follows Kafka's transactions, so that both a broker and a file can implement it:

- an *offset* numbers the records of one partition; it only grows, and may skip numbers (aborted
  transactions and compaction leave gaps), so it orders and identifies records but does not count them;
- a *position* is the next offset to read; *lag* is end minus position;
- values are JSON objects, written in one canonical form (`pipeline.streams.codec`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from pipeline.errors import LogError

TopicPartition = tuple[str, int]
"""Topic name and partition number, from 0."""

Kept = Literal["forever", "while needed", "compacted"]
"""Retention of a topic.

`forever`: all records. `while needed`: old ones may be deleted once every reader has passed them. `compacted`: at least
the newest record of each key."""


class FencedError(LogError):
    """A newer producer of the same id, or consumer of the same instance, took over: stop this one."""

    exit_status = 4


class PartitionLostError(LogError):
    """The consumer's group reassigned the partition to another member: drop the batch and poll again."""


class UnavailableError(LogError):
    """The log does not answer; the outcome of the request is unknown.

    The caller drops its state in memory and starts over: first a new producer of the same id, which commits or aborts
    the last transaction, then a new consumer and state restored up to the committed offsets.
    """


class RecordsLostError(LogError):
    """Records were deleted before they were read; the message has their offsets."""


class OversizeError(LogError):
    """A record exceeds the maximum length of the log.

    Attributes:
        stub: value to write in its place, to the dead letters for instance: reason, bytes and sha256.
    """

    def __init__(self, message: str, stub: Mapping[str, object]) -> None:
        self.stub = stub
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Topic:
    """A named stream of records.

    Attributes:
        name: name of the topic.
        partitions: number of its independently ordered parts, at least 1.
        kept: retention of its records.
        key: meaning of a record's key, as text for a person.
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
        key: identity of its subject, or None.
        value: a JSON object; None is a tombstone, the deletion of the key.
        timestamp: event time in seconds since 1970 UTC, kept to the millisecond.
        written_at: wall clock of the writer at the commit, in seconds since 1970 UTC, kept to the millisecond; None
            where the log does not have it. It is no content: records are equal without it.
        raw: the value's bytes in the log, by which a record is passed on unchanged; None for a tombstone.
        traceparent: W3C trace context of what wrote it; None without one, and on an embedded log, which has no headers.
            It is no content either.
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    value: Mapping[str, object] | None
    timestamp: float
    written_at: float | None = field(default=None, compare=False)
    raw: bytes | None = field(default=None, compare=False, repr=False)
    traceparent: str | None = field(default=None, compare=False, repr=False)


class Consumer(Protocol):
    """One member of a consumer group; it reads the partitions assigned to it.

    The assignment changes only inside `poll`: a caller with state by partition compares `claims` after each poll,
    before it processes the records. A newly assigned partition starts at its committed offset and is not paused, also
    if this member had it before.
    """

    @property
    def assignment(self) -> list[TopicPartition]:
        """The partitions this member reads, sorted."""

    def claims(self) -> Mapping[TopicPartition, int]:
        """Return for each assigned partition the number of its claim, a new one for each time it is assigned.

        Between two polls a partition can be reassigned, read by another member, and assigned back: the assignment is
        the same then, but earlier state is stale.
        """

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Return the next records, at most `max_records`, waiting up to `timeout` seconds for the first.

        Records of one partition are in order of their offsets; partitions take turns.

        Raises:
            RecordsLostError: if records were deleted before this group read them; the message has their offsets.
            FencedError: if a newer consumer of the same instance took over.
        """

    def position(self, topic: str, partition: int) -> int:
        """Return the next offset to read. The partition must be assigned."""

    def committed(self, topic: str, partition: int) -> int:
        """Return the offset at which a restart continues: the committed one, or the first kept if there is none."""

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue at `offset`. The partition must be assigned."""

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Return no records of these from `poll` until `resume`; `poll` still renews the membership."""

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Continue paused partitions at their positions."""

    def lag(self) -> int:
        """Return end minus position, summed over the assigned partitions that are not paused."""

    def close(self) -> None:
        """Leave the group, so that others claim the partitions at once. Commits nothing."""


class Transaction(Protocol):
    """Records and offsets that become visible together.

    Attributes:
        offsets: (topic, partition, offset) of each record in order of `send`; empty before the commit.
    """

    offsets: list[tuple[str, int, int]]

    def send(
        self,
        topic: str,
        value: Mapping[str, object] | bytes | None,
        *,
        key: str | None = None,
        partition: int | None = None,
        timestamp: float,
        traceparent: str | None = None,
    ) -> None:
        """Add a record.

        Args:
            topic: an existing topic.
            value: a JSON object without NaN or infinity, the `raw` bytes of a record that is passed on, or None for
                a tombstone.
            key: identity of its subject; required in compacted topics.
            partition: partition number; by default that of the key (`pipeline.streams.partitioner`), and 0 for records
                without a key.
            timestamp: event time in seconds since 1970 UTC.
            traceparent: W3C trace context, a header on a broker; an embedded log drops it.

        Raises:
            LogError: if the record is invalid; the transaction can continue without it.
        """

    def commit_offsets(self, consumer: Consumer) -> None:
        """Add the consumer's current positions: the commit makes them the committed offsets of its group."""


class Producer(Protocol):
    """Writes transactions, one at a time."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction: committed when the block ends, aborted when it raises.

        Raises:
            FencedError: at the commit at the latest, if a newer producer of the same id exists.
            PartitionLostError: at the commit, if committed positions are of reassigned partitions.
            UnavailableError: at the commit, if the log did not answer in time; its outcome is unknown.
        """


class Log(Protocol):
    """Topics of records, written in transactions and read by consumer groups.

    Attributes:
        longest_record: maximum length of a record in bytes, its key and frame included.
    """

    @property
    def longest_record(self) -> int: ...  # noqa: D102

    def create_topics(self, topics: Iterable[Topic]) -> None:
        """Create the missing topics.

        Raises:
            LogError: if a topic exists with another number of partitions or another retention.
        """

    def problems(self, topics: Iterable[Topic]) -> list[str]:
        """Return how the existing topics differ from these, one line each; empty without differences."""

    def topic(self, name: str) -> Topic:
        """Return a topic as the log has it, or raise LogError if there is none of this name."""

    def producer(self, transactional_id: str) -> Producer:
        """Return a new producer and fence older ones of the same id."""

    def consumer(self, group: str, topics: Sequence[str], instance: str) -> Consumer:
        """Join a consumer group.

        Args:
            group: name of the group; each group reads every record once.
            topics: names of the topics to read.
            instance: name of this member, the same after a restart: a new consumer replaces the older one.
        """

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Return the committed records with start <= offset < end, by offset, outside any group.

        Raises:
            RecordsLostError: at the call, with the exact range of the requested offsets that are deleted.
        """

    def read_at(self, topic: str, partition: int, offsets: Iterable[int]) -> Iterator[Record]:
        """Return the committed records at these offsets, by offset and each once; those without a record are left out.

        The cost is that of the records, however far they lie apart; on a broker, that of their neighbours in a fetch.

        Raises:
            RecordsLostError: at the call, if some of the offsets are deleted; names the range of these.
        """

    def start_offset(self, topic: str, partition: int) -> int:
        """Return the first offset kept."""

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before `offset`; a later read of one of them raises RecordsLostError."""

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with their records and the offsets that groups committed in them; missing ones are passed over.

        Nothing may use them any more.
        """

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset after the last committed record."""

    def acknowledged_end(self, topic: str, partition: int) -> int:
        """Return the end offset once it includes every commit acknowledged before the call, of any process.

        A broker shows the parts of a commit one after another. State is restored up to here: a group's offset may be
        visible before the changelog records of the same transaction.

        Raises:
            UnavailableError: a transaction on the partition stays undecided.
        """

    def committed(self, group: str, topic: str, partition: int) -> int:
        """Return a group's committed offset, or the first kept if there is none, without joining the group."""

    def close(self) -> None:
        """Release all resources. The log cannot be used afterwards."""


@runtime_checkable
class LastingLog(Log, Protocol):
    """A log that outlives its process, and can be saved."""

    def save(self, to: Path) -> None:
        """Write the log as of one moment to a new file, while processes use it.

        Of each transaction before the moment the file has all records and offsets, of later ones none. A broker's log
        has records of `interactions` and `feedback` that came since, too.

        Args:
            to: a file that does not exist yet; see `pipeline.streams.sqlite.saved`.

        Raises:
            UnavailableError: there was no such moment for a while.
            LogError: the file cannot be written.
        """
