"""The log on a Kafka broker: its transactions, groups and offsets behind the interface of all logs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kafka import KafkaAdminClient
from kafka import TopicPartition as Where
from kafka.admin import OffsetSpec

from pipeline.config import LogSettings
from pipeline.streams.checks import check_all_kept, check_kept
from pipeline.streams.interface import Record, Topic
from pipeline.streams.kafka.admin import TopicAdmin
from pipeline.streams.kafka.config import make_client, parse_url
from pipeline.streams.kafka.consumer import BrokerConsumer
from pipeline.streams.kafka.errors import translated
from pipeline.streams.kafka.moment import MomentFinder
from pipeline.streams.kafka.producer import BrokerPositions, BrokerProducer
from pipeline.streams.kafka.reader import ReaderPool
from pipeline.streams.kafka.saving import save
from pipeline.streams.topics import pipeline_topics, topic_of
from pipeline.streams.transaction import BufferedProducer


class KafkaLog:
    """A `Log` on a broker. Threads may share it; only one thread at a time may use a consumer or producer.

    Args:
        url: `kafka://host:port[,host:port]`.
        settings: settings of the log.

    Raises:
        LogError: if the URL names no broker.
        UnavailableError: if none of the brokers answers.
    """

    def __init__(self, url: str, settings: LogSettings) -> None:
        self._connection = parse_url(url, settings)
        with translated(url):
            self._admin = make_client(KafkaAdminClient, self._connection.client())
        self._topics = TopicAdmin(self._admin, self._connection)
        self._readers = ReaderPool(self._connection)
        self._consumers: list[BrokerConsumer] = []
        self._producers: list[BrokerProducer] = []
        self._closed = False

    @property
    def longest_record(self) -> int:
        """See `Log`."""
        return self._connection.settings.max_record_bytes

    def create_topics(self, topics: Iterable[Topic]) -> None:
        """See `Log.create_topics`."""
        self._topics.create(topics)

    def problems(self, topics: Iterable[Topic]) -> list[str]:
        """Return how the broker's topics differ from these, one line each: missing, kept too short, ..."""
        return self._topics.problems(topics)

    def topic(self, name: str) -> Topic:
        """See `Log.topic`."""
        return self._topics[name]

    def producer(self, transactional_id: str) -> BufferedProducer[BrokerPositions]:
        """See `Log.producer`."""
        producer = BrokerProducer(
            self._connection, transactional_id, self._topics.__getitem__, self._readers.record_written
        )
        self._producers.append(producer)
        # The broker counts the epochs of an id, so ours is not used.
        return BufferedProducer(producer, transactional_id, epoch=0)

    def consumer(self, group: str, topics: Sequence[str], instance: str) -> BrokerConsumer:
        """See `Log.consumer`."""
        read = [self._topics[topic] for topic in topics]
        with translated(f"consumer {instance} of group {group}"):
            consumer = BrokerConsumer(self._connection, self._admin, group, read, instance)
        self._consumers = [each for each in self._consumers if not each.closed] + [consumer]
        return consumer

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `Log.read`."""
        where = self._topics.partition(topic, partition)
        check_kept(topic, partition, start, end, self._readers.first(where))
        return self._readers.scan(topic, where, start, min(end, self._readers.end(where)))

    def read_at(self, topic: str, partition: int, offsets: Iterable[int]) -> Iterator[Record]:
        """See `Log.read_at`."""
        where, wanted = self._topics.partition(topic, partition), sorted(set(offsets))
        check_all_kept(topic, partition, wanted, self._readers.first(where))
        end = self._readers.end(where) if wanted else 0
        return self._readers.scan_at(topic, where, [offset for offset in wanted if offset < end])

    def start_offset(self, topic: str, partition: int) -> int:
        """See `Log.start_offset`."""
        return self._readers.first(self._topics.partition(topic, partition))

    def end_offset(self, topic: str, partition: int) -> int:
        """See `Log.end_offset`."""
        return self._readers.end(self._topics.partition(topic, partition))

    def acknowledged_end(self, topic: str, partition: int) -> int:
        """See `Log.acknowledged_end`."""
        where = self._topics.partition(topic, partition)
        with translated(f"{topic}/{partition}"):
            # Of all records, also those of transactions that are undecided.
            written = self._admin.list_partition_offsets({Where(*where): OffsetSpec.LATEST})[Where(*where)]
        return self._readers.end(where, int(written.offset))

    def committed(self, group: str, topic: str, partition: int) -> int:
        """See `Log.committed`."""
        where = self._topics.partition(topic, partition)
        name = self._connection.named(group)
        with translated(f"group {group}"):
            offsets = self._admin.list_group_offsets({name: [Where(*where)]})[name]
        found = offsets.get(Where(*where))
        return found.offset if found and found.offset >= 0 else self._readers.first(where)

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before `offset`, as retention does."""
        where = Where(*self._topics.partition(topic, partition))
        with translated(f"{topic}/{partition}"):
            self._admin.delete_records({where: offset})

    def delete_topics(self, names: Iterable[str]) -> None:
        """See `Log.delete_topics`."""
        self._topics.delete(names)

    def save(self, to: Path) -> None:
        """See `LastingLog.save`."""
        keys = {topic.name: topic.key for topic in pipeline_topics()}
        existing = self._topics.existing(self._topics.generations(keys))
        topics = [replace(topic, key=keys[topic_of(topic.name)]) for topic in existing]
        moment = MomentFinder(self._connection, self._admin, topics).find()
        save(moment, topics, self._readers, self._connection, to)

    def close(self) -> None:
        """See `Log.close`."""
        if self._closed:
            return
        self._closed = True
        for consumer in self._consumers:
            consumer.close()
        for producer in self._producers:
            producer.close()
        self._readers.close()
        self._admin.close()


def open_log(url: str, settings: LogSettings) -> KafkaLog:
    """Connect to the broker of a `kafka://` URL; see `KafkaLog`."""
    return KafkaLog(url, settings)
