"""Transactions that wait in memory until their commit: what the memory log and the local log share.

A record is encoded and checked when it is sent, so a commit can fail only for reasons of the log itself;
and an abort has nothing to undo.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import LogError
from pipeline.logs.base import Consumer, Topic, TopicPartition, Transaction
from pipeline.logs.codec import encode_key, encode_timestamp, encode_value, partition_of
from pipeline.logs.consumer import GroupConsumer


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One encoded record on its way to a partition; `timestamp` in milliseconds."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int


@dataclass(frozen=True, slots=True)
class Positions:
    """A consumer's positions to commit.

    Attributes:
        group: the consumer's group.
        token: the consumer.
        claims: for each partition the claim it is held by; another claim by now means it was lost.
        offsets: for each partition the next offset to read.
    """

    group: str
    token: str
    claims: Mapping[TopicPartition, int]
    offsets: Mapping[TopicPartition, int]


class Sink(Protocol):
    """What a buffered transaction needs from its log."""

    def topic(self, name: str) -> Topic:
        """Return a topic, or raise LogError if there is none of this name."""

    def owns(self, consumer: GroupConsumer) -> bool:
        """Tell whether the consumer reads this very log."""

    def commit(
        self, transactional_id: str, epoch: int, sent: Sequence[Outgoing], positions: Sequence[Positions]
    ) -> list[tuple[str, int, int]]:
        """Make all of it durable and visible, or none; return (topic, partition, offset) by record."""

    def abort(self, sent: Sequence[Outgoing]) -> None:
        """Take note that these records will never be visible."""


class BufferedTransaction:
    """A `Transaction` that holds its records until the commit."""

    def __init__(self, sink: Sink) -> None:
        self.offsets: list[tuple[str, int, int]] = []
        self.sent: list[Outgoing] = []
        self.positions: list[Positions] = []
        self.ended = False
        self._sink = sink

    def send(
        self,
        topic: str,
        value: Mapping[str, object] | None,
        *,
        key: str | None = None,
        partition: int | None = None,
        timestamp: float,
    ) -> None:
        """See `Transaction.send`."""
        self._check_open()
        where = _destination(self._sink.topic(topic), key, partition)
        try:
            outgoing = Outgoing(topic, where, encode_key(key), encode_value(value), encode_timestamp(timestamp))
        except LogError as error:
            raise LogError(f"record of topic {topic}, key {key!r}: {error}") from error
        self.sent.append(outgoing)

    def commit_offsets(self, consumer: Consumer) -> None:
        """See `Transaction.commit_offsets`."""
        self._check_open()
        if not isinstance(consumer, GroupConsumer) or not self._sink.owns(consumer):
            raise LogError("offsets are committed with the records of the same log; this consumer is of another")
        self.positions.append(Positions(consumer.group, consumer.token, consumer.claims(), consumer.positions()))

    def _check_open(self) -> None:
        if self.ended:
            raise LogError("the transaction has ended; open a new one")


class BufferedProducer:
    """A `Producer` over a sink.

    Attributes:
        transactional_id: names the producer over restarts.
        epoch: rises with each producer of this id; only the newest may commit.
    """

    def __init__(self, sink: Sink, transactional_id: str, epoch: int) -> None:
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
