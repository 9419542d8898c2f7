"""Reads from a broker outside any group: bounds of partitions, and ranges of committed records by offset.

A process can read its own writes: a broker acknowledges a commit before it writes the markers that make it visible, so
`end` waits until the commits of this log are visible.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from kafka import KafkaConsumer
from kafka import TopicPartition as Where

from pipeline.streams.interface import Record, TopicPartition, UnavailableError
from pipeline.streams.kafka.config import Connection, make_client, milliseconds
from pipeline.streams.kafka.errors import translated
from pipeline.streams.kafka.serialization import decode_record
from pipeline.streams.stretches import stretches

NAP = 0.005
"""Seconds between two polls of a partition whose last commit is not visible yet."""

PAGE = 512
"""Records per fetch."""

WAIT = 0.01
"""Seconds that a fetch waits for records.

All records of a range exist already, except behind a marker, for which no record follows; and a waiting fetch blocks
all other requests on its connection."""


class ReaderPool:
    """Pool of reading clients; each serves one caller at a time.

    Args:
        connection: the broker.
        clock: seconds, monotonic, for deadlines.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        connection: Connection,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._idle: list[KafkaConsumer] = []
        self._written: dict[TopicPartition, int] = {}

    def record_written(self, written: Sequence[tuple[str, int, int]]) -> None:
        """Record a commit of this log: topic, partition and offset of each record."""
        with self._lock:
            for topic, partition, offset in written:
                where = (self._connection.named(topic), partition)
                self._written[where] = max(offset, self._written.get(where, -1))

    def first(self, where: TopicPartition) -> int:
        """Return the first offset kept."""
        with self._reader() as reader, translated(f"{where[0]}/{where[1]}"):
            return int(reader.beginning_offsets([Where(*where)])[Where(*where)])

    def end(self, where: TopicPartition, least: int = 0) -> int:
        """Return the offset after the last committed record, the commits of this log included.

        Args:
            where: the partition.
            least: offset that the end must have reached.
        """
        deadline = self._clock() + self._connection.settings.commit_seconds
        least = max(least, self._written.get(where, -1) + 1)
        with self._reader() as reader, translated(f"{where[0]}/{where[1]}"):
            while (end := int(reader.end_offsets([Where(*where)])[Where(*where)])) < least:
                if self._clock() > deadline:
                    raise UnavailableError(
                        f"offset {least - 1} of {where[0]}/{where[1]} is written but not visible: a producer's "
                        "transaction on this partition is open"
                    )
                self._sleep(NAP)
            return end

    def scan(self, topic: str, where: TopicPartition, start: int, end: int) -> Iterator[Record]:
        """Return the committed records with start <= offset < end, by offset; `end` is within the bounds."""
        return (decode_record(topic, raw) for raw in self.raw(where, start, end))

    def scan_at(self, topic: str, where: TopicPartition, offsets: Sequence[int]) -> Iterator[Record]:
        """Return the committed records at these offsets, sorted and within the bounds."""
        wanted = set(offsets)
        for start, end in stretches(offsets, PAGE):
            yield from (decode_record(topic, raw) for raw in self.raw(where, start, end) if raw.offset in wanted)

    def raw(self, where: TopicPartition, start: int, end: int) -> Iterator[Any]:
        """Return the same as the client has them, with the broker's stamp and all headers."""
        if start >= end:
            return
        with self._reader() as reader, translated(f"{where[0]}/{where[1]}"):
            partition = Where(*where)
            reader.assign([partition])
            reader.seek(partition, start)
            deadline = self._clock() + self._connection.settings.commit_seconds
            while reader.position(partition) < end:
                for raw in reader.poll(timeout_ms=milliseconds(WAIT), max_records=PAGE).get(partition, ()):
                    if raw.offset >= end:
                        return
                    yield raw
                    deadline = self._clock() + self._connection.settings.commit_seconds
                if self._clock() > deadline:
                    raise UnavailableError(f"{where[0]}/{where[1]}: the broker does not answer in time; is it running?")

    def close(self) -> None:
        """Close the idle clients."""
        with self._lock:
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.close(timeout_ms=milliseconds(self._connection.settings.close_seconds))

    @contextmanager
    def _reader(self) -> Iterator[KafkaConsumer]:
        with self._lock:
            reader = self._idle.pop() if self._idle else None
        if reader is None:
            with translated("a reader"):
                settings = self._connection.reader() | {"fetch_max_wait_ms": milliseconds(WAIT)}
                reader = make_client(KafkaConsumer, settings)
        try:
            yield reader
        finally:
            with self._lock:
                self._idle.append(reader)
