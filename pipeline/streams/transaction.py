"""Transactions buffered in memory until their commit, for all logs.

A record is encoded and checked when it is sent, so a commit can fail only for reasons of the log itself, and an abort
has nothing to undo.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipeline.errors import LogError
from pipeline.streams.checks import foreign_consumer
from pipeline.streams.codec import check_size, encode_key, encode_timestamp, encode_value
from pipeline.streams.group_consumer import GroupConsumer
from pipeline.streams.interface import Consumer, OversizeError, Topic, TopicPartition, Transaction
from pipeline.streams.partitioner import partition_of

P = TypeVar("P")
"""Positions of a consumer, in the form that a log commits."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One encoded record of a transaction; `timestamp` in milliseconds, `traceparent` for logs with headers."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Positions:
    """A consumer's positions to commit.

    Attributes:
        group: the consumer's group.
        token: the consumer.
        claims: claim of each partition; a different claim at the commit means that it was lost.
        offsets: for each partition the next offset to read.
    """

    group: str
    token: str
    claims: Mapping[TopicPartition, int]
    offsets: Mapping[TopicPartition, int]


class Sink(Protocol[P]):
    """Interface of a log for its buffered transactions.

    Attributes:
        longest_record: maximum length of a record in bytes, its frame included.
    """

    @property
    def longest_record(self) -> int: ...  # noqa: D102

    def topic(self, name: str) -> Topic:
        """Return a topic, or raise LogError if there is none of this name."""

    def positions(self, consumer: Consumer) -> P:
        """Return the current positions of the consumer; LogError if it reads another log."""

    def commit(
        self, transactional_id: str, epoch: int, sent: Sequence[Outgoing], positions: Sequence[P]
    ) -> list[tuple[str, int, int]]:
        """Make all of it durable and visible, or none; return (topic, partition, offset) of each record."""

    def abort(self, sent: Sequence[Outgoing]) -> None:
        """Discard these records."""


def positions_of(source: object, consumer: Consumer) -> Positions:
    """Return the positions of a consumer that reads `source`.

    Raises:
        LogError: if it reads another log.
    """
    if not isinstance(consumer, GroupConsumer) or consumer.source is not source:
        raise foreign_consumer()
    return Positions(consumer.group, consumer.token, consumer.claims(), consumer.positions())


class BufferedTransaction(Generic[P]):
    """A `Transaction` that holds its records until the commit."""

    def __init__(self, sink: Sink[P]) -> None:
        self.offsets: list[tuple[str, int, int]] = []
        self.sent: list[Outgoing] = []
        self.positions: list[P] = []
        self.ended = False
        self._sink = sink

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
        """See `Transaction.send`."""
        self._check_open()
        where = _destination(self._sink.topic(topic), key, partition)
        try:
            outgoing = Outgoing(
                topic, where, encode_key(key), encode_value(value), encode_timestamp(timestamp), traceparent
            )
            check_size(outgoing.key, outgoing.value, self._sink.longest_record)
        except OversizeError as error:
            raise OversizeError(f"record of topic {topic}, key {key!r}: {error}", error.stub) from error
        except LogError as error:
            raise LogError(f"record of topic {topic}, key {key!r}: {error}") from error
        self.sent.append(outgoing)

    def commit_offsets(self, consumer: Consumer) -> None:
        """See `Transaction.commit_offsets`."""
        self._check_open()
        self.positions.append(self._sink.positions(consumer))

    def _check_open(self) -> None:
        if self.ended:
            raise LogError("the transaction has ended; open a new one")


class BufferedProducer(Generic[P]):
    """A `Producer` over a sink.

    Attributes:
        transactional_id: name of the producer, the same over restarts.
        epoch: number of producers of this id so far; only the newest may commit.
    """

    def __init__(self, sink: Sink[P], transactional_id: str, epoch: int) -> None:
        self.transactional_id = transactional_id
        self.epoch = epoch
        self._sink = sink
        self._open = False

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `Producer.transaction`."""
        if self._open:
            raise LogError(f"producer {self.transactional_id} has a transaction open; end it first")
        self._open = True
        transaction = BufferedTransaction(self._sink)
        try:
            yield transaction
            transaction.offsets = self._sink.commit(
                self.transactional_id, self.epoch, transaction.sent, transaction.positions
            )
        except BaseException:
            self._sink.abort(transaction.sent)
            raise
        finally:
            transaction.ended = True
            self._open = False


def _destination(topic: Topic, key: str | None, partition: int | None) -> int:
    if key is None and topic.kept == "compacted":
        raise LogError(f"topic {topic.name} is compacted: each of its records needs a key")
    if partition is None:
        return partition_of(key, topic.partitions)
    if not 0 <= partition < topic.partitions:
        raise LogError(f"topic {topic.name} has partitions 0..{topic.partitions - 1}, not {partition}")
    return partition
