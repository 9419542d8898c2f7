"""Transactional producer: writes a buffered transaction to the broker at its commit, within a deadline.

The order of writes:

1. the records;
2. the consumer's positions with its membership (the broker refuses those of a former member);
3. the end of the transaction, which waits for all of them.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka import ConsumerGroupMetadata, KafkaProducer, OffsetAndMetadata
from kafka import TopicPartition as Where
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFencedError,
)

from pipeline.errors import LogError
from pipeline.streams.checks import fenced_consumer, fenced_producer, foreign_consumer, lost_partition
from pipeline.streams.codec import encode_timestamp
from pipeline.streams.interface import Consumer, Topic, TopicPartition, UnavailableError
from pipeline.streams.kafka.config import Connection, make_client, milliseconds
from pipeline.streams.kafka.consumer import BrokerConsumer
from pipeline.streams.kafka.errors import translated
from pipeline.streams.kafka.serialization import encode_headers
from pipeline.streams.transaction import Outgoing


@dataclass(frozen=True, slots=True)
class BrokerPositions:
    """A consumer's positions to commit, with its membership in the group."""

    membership: ConsumerGroupMetadata
    group: str
    offsets: dict[TopicPartition, int]


class BrokerProducer:
    """Sink of one producer's transactions.

    Args:
        connection: the broker.
        transactional_id: name of the producer, the same over restarts.
        topic: returns a topic by its name, or raises LogError.
        written: called with the offsets of each committed transaction.
        clock: seconds, monotonic, for deadlines.
        wall_clock: seconds since 1970; the time at which records are written.
    """

    def __init__(
        self,
        connection: Connection,
        transactional_id: str,
        topic: Callable[[str], Topic],
        written: Callable[[Sequence[tuple[str, int, int]]], None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.topic = topic
        self.longest_record = connection.settings.max_record_bytes
        self._connection = connection
        self._id = transactional_id
        self._written = written
        self._clock = clock
        self._wall_clock = wall_clock
        self._refusal: LogError | None = None
        with translated(self._name()):
            self._producer = make_client(KafkaProducer, connection.producer(transactional_id))
            try:
                self._producer.init_transactions()
            except KafkaError:
                self._discard()
                raise

    def positions(self, consumer: Consumer) -> BrokerPositions:
        """Return the current positions of a consumer, to be committed."""
        if not isinstance(consumer, BrokerConsumer):
            raise foreign_consumer()
        return BrokerPositions(consumer.membership(), consumer.group, consumer.positions())

    def commit(
        self,
        transactional_id: str,  # noqa: ARG002 - the client sends id and epoch itself
        epoch: int,  # noqa: ARG002
        sent: Sequence[Outgoing],
        positions: Sequence[BrokerPositions],
    ) -> list[tuple[str, int, int]]:
        """Write records and positions in one transaction of the broker, or raise without visible effect."""
        if self._refusal:
            raise self._refusal
        if not sent and not any(standing.offsets for standing in positions):
            return []
        deadline = self._clock() + self._connection.settings.commit_seconds
        try:
            offsets = self._write(sent, positions, deadline)
        except KafkaError as error:
            raise self._error_of(error, positions) from error
        self._written(offsets)
        return offsets

    def abort(self, sent: Sequence[Outgoing]) -> None:
        """Do nothing: nothing is written before the commit, and a failed commit aborts by itself."""

    def close(self) -> None:
        """End the producer's thread and connections, within `log.close_seconds`."""
        with suppress(KafkaError):
            self._producer.close(timeout=self._connection.settings.close_seconds)
        self._discard()

    def _write(
        self, sent: Sequence[Outgoing], positions: Sequence[BrokerPositions], deadline: float
    ) -> list[tuple[str, int, int]]:
        producer, manager = self._producer, self._producer._transaction_manager
        now = encode_timestamp(self._wall_clock())
        producer.begin_transaction()
        futures = [self._send(each, now) for each in sent]
        producer.flush(timeout=self._left(deadline))
        for standing in positions:
            if standing.offsets:
                self._await(manager.send_offsets_to_transaction(self._offsets(standing), standing.membership), deadline)
        # Checked before the end: the client would commit the rest when the delivery of a record expired.
        written = [future.get(timeout=self._left(deadline)).offset for future in futures]
        self._await(manager.begin_commit(), deadline)
        return [(each.topic, each.partition, offset) for each, offset in zip(sent, written, strict=True)]

    def _send(self, outgoing: Outgoing, written: int) -> Any:
        return self._producer.send(
            self._connection.named(outgoing.topic),
            value=outgoing.value,
            # Kafka needs a key or a value: a tombstone without a key gets an empty key.
            key=b"" if outgoing.key is None and outgoing.value is None else outgoing.key,
            partition=outgoing.partition,
            headers=encode_headers(outgoing.timestamp, written, outgoing.traceparent),
        )

    def _offsets(self, standing: BrokerPositions) -> dict[Where, OffsetAndMetadata]:
        return {
            Where(self._connection.named(topic), partition): OffsetAndMetadata(offset, "", -1)
            for (topic, partition), offset in standing.offsets.items()
        }

    def _await(self, result: Any, deadline: float) -> None:
        # The client's own calls for these steps wait without limit for an unavailable broker.
        self._producer._sender.wakeup()
        if not result.wait(timeout_ms=milliseconds(self._left(deadline))):
            raise KafkaTimeoutError("not done within log.commit_seconds")

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock())

    def _error_of(self, error: KafkaError, positions: Sequence[BrokerPositions]) -> LogError:
        """Abort after a failed commit, and return the error to raise."""
        cause = self._producer._transaction_manager.last_error or error
        if isinstance(cause, (ProducerFencedError, InvalidProducerEpochError)):
            return self._refuse(fenced_producer(self._id))
        standing = next((standing for standing in positions if standing.offsets), None)
        if standing and isinstance(cause, CommitFailedError) and self._abort():
            return lost_partition(standing.group, min(standing.offsets))
        if standing and isinstance(cause, FencedInstanceIdError) and self._abort():
            return fenced_consumer(standing.group, str(standing.membership.group_instance_id))
        if not cause.retriable and self._abort():
            return LogError(f"{self._name()}: the transaction was aborted: {cause}")
        return self._refuse(
            UnavailableError(
                f"{self._name()}: the outcome of its last transaction is unknown ({cause}); open a new producer of "
                f"this id, which commits or aborts it, then start from the committed offsets"
            )
        )

    def _abort(self) -> bool:
        """Abort the open transaction; return False if the broker did not confirm it."""
        try:
            aborting = self._producer._transaction_manager.begin_abort()
            self._await(aborting, self._clock() + self._connection.settings.close_seconds)
        except KafkaError:
            return False
        return True

    def _refuse(self, refusal: LogError) -> LogError:
        """Discard the producer, and raise the same error at every later commit."""
        self._refusal = refusal
        self._discard()
        return refusal

    def _discard(self) -> None:
        with suppress(KafkaError):
            self._producer.close(timeout=0)
        # A `close` that times out on unwritten records leaves the thread running.
        self._producer._sender.force_close()

    def _name(self) -> str:
        return f"producer {self._id}"
