"""Offsets of a partition made anew: records where they were, and nothing to be seen between them.

    offset   0    1    2    3    4    5    6    7
    plain              a    b              c            records, by a producer without transactions
    fillers  -    -              -    -         x       deleted before the first offset; else aborted, x: the marker

Fillers between records belong to a transaction that is aborted, so no reader of committed records sees them. The
marker of the abort takes an offset, too: that of the last filler that is missing, or one after the end.
"""

import time
from collections.abc import Iterable
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka import TopicPartition as Where

from pipeline.errors import LogError
from pipeline.streams.kafka.config import Connection, make_client
from pipeline.streams.kafka.reader import ReaderPool
from pipeline.streams.kafka.serialization import encode_headers
from pipeline.streams.sqlite.saved import SavedRecord

LONGEST = 900_000
"""Milliseconds for which a broker lets a transaction be open, by default."""

ABORT_AFTER = 60.0
"""Seconds after which a transaction is aborted at the next gap."""

AWAITED = 5_000
"""Records that are sent before the offsets of all of them are compared."""


class PartitionFiller:
    """Fills partitions of new topics, one after another.

    Args:
        connection: the broker.
        admin: its client.
        readers: reads ends of partitions.
    """

    def __init__(self, connection: Connection, admin: KafkaAdminClient, readers: ReaderPool) -> None:
        self._admin, self._readers = admin, readers
        self._seconds = connection.settings.commit_seconds
        settings = connection.producer("restore")
        # A gap ends before the next record is sent: lingering would only add to each.
        settings |= {"linger_ms": 5, "transaction_timeout_ms": LONGEST}
        plain = settings | {"transactional_id": None}
        del plain["transaction_timeout_ms"]
        self._plain = make_client(KafkaProducer, plain)
        self._fillers = make_client(KafkaProducer, settings)
        self._fillers.init_transactions()
        self._sent: list[tuple[Any, int]] = []
        self._opened: float | None = None

    def fill(self, where: Where, records: Iterable[SavedRecord], first: int, end: int) -> None:
        """Fill an empty partition.

        Args:
            where: the partition, by the broker's name of its topic.
            records: its records, by offset.
            first: first offset that is kept.
            end: offset after the last record, or after the markers behind it.

        Raises:
            LogError: the broker numbered a record otherwise; somebody else writes to the topic.
        """
        if first:
            for offset in range(first):
                self._send(self._plain, where, offset, value=b"")
            self._await(self._plain)
            self._admin.delete_records({where: first})
        at = first
        for record in records:
            self._gap(where, at, record.offset)
            self._send_record(where, record)
            at = record.offset + 1
        self._gap(where, at, end, last=True)
        self._await(self._plain)
        if self._opened is not None:
            self._abort(where, end + 1)

    def close(self) -> None:
        """Close the clients."""
        for producer in (self._plain, self._fillers):
            producer.close(timeout=self._seconds)

    def _gap(self, where: Where, start: int, end: int, last: bool = False) -> None:
        """Fill the offsets start <= offset < end, the last ones of the partition or not."""
        if start >= end:
            return
        self._await(self._plain)
        now = time.monotonic()
        # The marker of an abort needs a filler before it.
        is_due = last or (self._opened is not None and now - self._opened >= ABORT_AFTER)
        aborts = is_due and (self._opened is not None or end - start > 1)
        if self._opened is None:
            self._fillers.begin_transaction()
            self._opened = now
        for offset in range(start, end - aborts):
            self._send(self._fillers, where, offset, key=b"-", value=b"")
        self._await(self._fillers)
        if aborts:
            self._abort(where, end)

    def _abort(self, where: Where, end: int) -> None:
        """End the transaction; its marker is there once the end of the partition has moved."""
        self._fillers.abort_transaction()
        self._opened = None
        self._readers.end((where.topic, where.partition), end)

    def _send_record(self, where: Where, record: SavedRecord) -> None:
        headers = record.headers
        if headers is None:
            written = record.milliseconds if record.written is None else record.written
            headers = encode_headers(record.milliseconds, written)
        stamp = record.written if record.stamp is None else record.stamp
        # Kafka needs a key or a value: a tombstone without a key gets an empty key.
        key = b"" if record.key is None and record.value is None else record.key
        self._send(
            self._plain,
            where,
            record.offset,
            key=key,
            value=record.value,
            headers=list(headers),
            timestamp_ms=stamp,
        )

    def _send(self, producer: KafkaProducer, where: Where, offset: int, **content: Any) -> None:
        self._sent.append((producer.send(where.topic, partition=where.partition, **content), offset))
        if len(self._sent) >= AWAITED:
            self._await(producer)

    def _await(self, producer: KafkaProducer) -> None:
        """Wait for what was sent, and compare the offsets that the broker gave to it."""
        if not self._sent:
            return
        producer.flush(timeout=self._seconds)
        for future, offset in self._sent:
            given = future.get(timeout=self._seconds)
            if given.offset != offset:
                raise LogError(
                    f"{given.topic}/{given.partition} has offset {given.offset} for a record of offset {offset}: "
                    "something else writes to it; delete the topics, stop what writes and restore again"
                )
        self._sent.clear()
