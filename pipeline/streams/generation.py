"""A log as one generation of the pipeline sees it: its own topics, groups and producers beside the shared topics.

    topic          on the log
    interactions   interactions           shared, as the other topics of `SHARED`
    gated          gated, of the first generation; gated.2 of the second, and so on

So a set-up and its successor run on one log with the same code, and a pipeline that was never refreshed finds the names
that it always had. A key of a shared topic that begins with `OWN_KEY` is of the generation that wrote it: other
generations pass its records over, as `Log` allows gaps between offsets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pipeline.streams.interface import Consumer, Log, Producer, Record, Topic, TopicPartition, Transaction
from pipeline.streams.topics import FIRST, OWN_KEY, SHARED, name_in


class GenerationLog:
    """A `Log` of one generation.

    Args:
        log: the whole log.
        generation: number of the generation, from 1.

    Attributes:
        whole: the whole log.
        generation: the number.
    """

    def __init__(self, log: Log, generation: int) -> None:
        self.whole, self.generation = log, generation
        self._suffix = "" if generation == FIRST else f".{generation}"
        # Keys of the first generation have the mark once: no id begins with it.
        self._tag = "" if generation == FIRST else f"{2 * OWN_KEY}{generation}"

    @property
    def longest_record(self) -> int:
        """See `Log`."""
        return self.whole.longest_record

    def create_topics(self, topics: Iterable[Topic]) -> None:
        """See `Log.create_topics`."""
        self.whole.create_topics(self._own(topics))

    def problems(self, topics: Iterable[Topic]) -> list[str]:
        """See `Log.problems`."""
        return self.whole.problems(self._own(topics))

    def topic(self, name: str) -> Topic:
        """See `Log.topic`."""
        return replace(self.whole.topic(self.named(name)), name=name)

    def producer(self, transactional_id: str) -> Producer:
        """See `Log.producer`."""
        return _Producer(self.whole.producer(transactional_id + self._suffix), self)

    def consumer(self, group: str, topics: Sequence[str], instance: str) -> Consumer:
        """See `Log.consumer`."""
        return _Consumer(self.whole.consumer(group + self._suffix, [*map(self.named, topics)], instance), self)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `Log.read`."""
        return self.records(self.whole.read(self.named(topic), partition, start, end))

    def read_at(self, topic: str, partition: int, offsets: Iterable[int]) -> Iterator[Record]:
        """See `Log.read_at`."""
        return self.records(self.whole.read_at(self.named(topic), partition, offsets))

    def start_offset(self, topic: str, partition: int) -> int:
        """See `Log.start_offset`."""
        return self.whole.start_offset(self.named(topic), partition)

    def delete_topics(self, names: Iterable[str]) -> None:
        """See `Log.delete_topics`."""
        self.whole.delete_topics([*map(self.named, names)])

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """See `Log.delete_before`."""
        self.whole.delete_before(self.named(topic), partition, offset)

    def end_offset(self, topic: str, partition: int) -> int:
        """See `Log.end_offset`."""
        return self.whole.end_offset(self.named(topic), partition)

    def acknowledged_end(self, topic: str, partition: int) -> int:
        """See `Log.acknowledged_end`."""
        return self.whole.acknowledged_end(self.named(topic), partition)

    def committed(self, group: str, topic: str, partition: int) -> int:
        """See `Log.committed`."""
        return self.whole.committed(group + self._suffix, self.named(topic), partition)

    def close(self) -> None:
        """See `Log.close`."""
        self.whole.close()

    # Translation, for the consumers and transactions of this log.

    def named(self, topic: str) -> str:
        """Name on the log of a topic of this generation."""
        return name_in(self.generation, topic)

    def local(self, topic: str) -> str:
        """Name in this generation of a topic on the log."""
        return topic.removesuffix(self._suffix)

    def tagged(self, topic: str, key: str | None) -> str | None:
        """Key on the log of a record of this generation."""
        return f"{self._tag}{key}" if self._tag and key is not None and self._is_own(topic, key) else key

    def records(self, records: Iterable[Record]) -> Iterator[Record]:
        """Records of the log, as this generation sees them; those that other generations wrote for themselves fall out.

        All are of topics that this generation reads.
        """
        for record in records:
            key = record.key
            if key is not None and self._is_own(record.topic, key):
                if not key.startswith(f"{self._tag}{OWN_KEY}") or (not self._tag and key.startswith(2 * OWN_KEY)):
                    continue
                yield replace(record, key=key.removeprefix(self._tag))
            elif self._suffix:
                yield replace(record, topic=self.local(record.topic))
            else:
                yield record

    def _is_own(self, topic: str, key: str) -> bool:
        return key.startswith(OWN_KEY) and topic in SHARED

    def _own(self, topics: Iterable[Topic]) -> list[Topic]:
        return [replace(topic, name=self.named(topic.name)) for topic in topics]


class _Consumer:
    """A `Consumer` of a generation."""

    def __init__(self, whole: Consumer, log: GenerationLog) -> None:
        self.whole, self._log = whole, log

    @property
    def assignment(self) -> list[TopicPartition]:
        return sorted(map(self._local, self.whole.assignment))

    def claims(self) -> Mapping[TopicPartition, int]:
        return {self._local(where): claim for where, claim in self.whole.claims().items()}

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        return list(self._log.records(self.whole.poll(max_records, timeout)))

    def position(self, topic: str, partition: int) -> int:
        return self.whole.position(self._log.named(topic), partition)

    def committed(self, topic: str, partition: int) -> int:
        return self.whole.committed(self._log.named(topic), partition)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self.whole.seek(self._log.named(topic), partition, offset)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self.whole.pause([(self._log.named(topic), partition) for topic, partition in partitions])

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self.whole.resume([(self._log.named(topic), partition) for topic, partition in partitions])

    def lag(self) -> int:
        return self.whole.lag()

    def close(self) -> None:
        self.whole.close()

    def _local(self, where: TopicPartition) -> TopicPartition:
        return self._log.local(where[0]), where[1]


class _Producer:
    """A `Producer` of a generation."""

    def __init__(self, whole: Producer, log: GenerationLog) -> None:
        self._whole, self._log = whole, log

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `Producer.transaction`."""
        with self._whole.transaction() as transaction:
            wrapped = _Transaction(transaction, self._log)
            yield wrapped
        wrapped.offsets = [(self._log.local(topic), number, offset) for topic, number, offset in transaction.offsets]


class _Transaction:
    """A `Transaction` of a generation."""

    def __init__(self, whole: Transaction, log: GenerationLog) -> None:
        self.offsets: list[tuple[str, int, int]] = []
        self._whole, self._log = whole, log

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
        self._whole.send(
            self._log.named(topic),
            value,
            key=self._log.tagged(topic, key),
            partition=partition,
            timestamp=timestamp,
            traceparent=traceparent,
        )

    def commit_offsets(self, consumer: Consumer) -> None:
        self._whole.commit_offsets(consumer.whole if isinstance(consumer, _Consumer) else consumer)
