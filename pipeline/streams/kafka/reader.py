"""Reading a broker outside any group: bounds of partitions, and ranges of committed records by offset.

Whoever wrote through this log reads its writes: a broker answers a commit before the markers that make it visible
are written, so an end waits for what was committed here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from kafka import KafkaConsumer
from kafka import TopicPartition as Where

from pipeline.streams.interface import Record, TopicPartition, UnavailableError
from pipeline.streams.kafka.config import Connection, made, milliseconds
from pipeline.streams.kafka.errors import translated
from pipeline.streams.kafka.serialization import decoded

NAP = 0.005
"""Seconds between two looks at a partition whose last commit is not visible yet."""

PAGE = 512
"""Records asked for at once."""

WAIT = 0.01
"""Seconds that a fetch waits for records. What is read is there already, or is a marker, for which none would come; and
while a fetch waits, nothing else is answered on its connection."""


class Readers:
    """Clients that read; each serves one caller at a time, and is used again.

    Args:
        connection: the broker.
        clock: seconds, monotonic; times deadlines.
        sleep: waits for so many seconds.
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

    def note(self, written: Sequence[tuple[str, int, int]]) -> None:
        """Take down what was committed through this log: topic, partition and offset of each record."""
        with self._lock:
            for topic, partition, offset in written:
                where = (self._connection.named(topic), partition)
                self._written[where] = max(offset, self._written.get(where, -1))

    def first(self, where: TopicPartition) -> int:
        """Return the first offset kept."""
        with self._reader() as reader, translated(f"{where[0]}/{where[1]}"):
            return int(reader.beginning_offsets([Where(*where)])[Where(*where)])

    def end(self, where: TopicPartition) -> int:
        """Return the end of what is committed, what we wrote included."""
        deadline = self._clock() + self._connection.settings.commit_seconds
        with self._reader() as reader, translated(f"{where[0]}/{where[1]}"):
            while (end := int(reader.end_offsets([Where(*where)])[Where(*where)])) <= self._written.get(where, -1):
                if self._clock() > deadline:
                    raise UnavailableError(
                        f"offset {self._written[where]} of {where[0]}/{where[1]} is committed but not visible: another "
                        f"producer's transaction on this partition is open"
                    )
                self._sleep(NAP)
            return end

    def scan(self, topic: str, where: TopicPartition, start: int, end: int) -> Iterator[Record]:
        """Return the committed records with start <= offset < end, by offset; `end` is within the bounds."""
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
                    yield decoded(topic, raw)
                    deadline = self._clock() + self._connection.settings.commit_seconds
                if self._clock() > deadline:
                    raise UnavailableError(f"{where[0]}/{where[1]}: the broker does not answer in time; is it running?")

    def close(self) -> None:
        """Close the clients that are idle."""
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
                reader = made(KafkaConsumer, self._connection.reader() | {"fetch_max_wait_ms": milliseconds(WAIT)})
        try:
            yield reader
        finally:
            with self._lock:
                self._idle.append(reader)
