"""A log on a broker as a saved log: the records of a moment, with their offsets, stamps and headers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.streams.codec import encode_timestamp
from pipeline.streams.interface import Topic, TopicPartition
from pipeline.streams.kafka.config import Connection
from pipeline.streams.kafka.moment import Moment
from pipeline.streams.kafka.reader import ReaderPool
from pipeline.streams.kafka.serialization import decode_record, encode_headers
from pipeline.streams.sqlite.saved import SavedRecord, SavedWriter


def save(moment: Moment, topics: Sequence[Topic], readers: ReaderPool, connection: Connection, to: Path) -> None:
    """Write the records before a moment's ends, and its committed offsets, to a new saved log.

    Raises:
        LogError: records were deleted while they were read.
    """
    with closing(SavedWriter(to)) as writer:
        for topic in topics:
            _save_topic(topic, moment, readers, connection, writer)
        for group, offsets in moment.committed.items():
            writer.add_committed(group, offsets)


def _save_topic(topic: Topic, moment: Moment, readers: ReaderPool, connection: Connection, writer: SavedWriter) -> None:
    places: list[TopicPartition] = [(connection.named(topic.name), number) for number in range(topic.partitions)]
    ends = [moment.ends[topic.name, number] for number in range(topic.partitions)]
    bounds = [(min(readers.first(where), end), end) for where, end in zip(places, ends, strict=True)]
    writer.add_topic(topic, bounds)
    for where, (first, end) in zip(places, bounds, strict=True):
        writer.add_records(topic.name, where[1], _saved(readers.raw(where, first, end)))


def _saved(raws: Iterable[Any]) -> Iterator[SavedRecord]:
    for raw in raws:
        record = decode_record("", raw)
        at = encode_timestamp(record.timestamp)
        written = None if record.written_at is None else encode_timestamp(record.written_at)
        headers = [(str(name), value) for name, value in raw.headers]
        ours = written is not None and headers == encode_headers(at, written)
        yield SavedRecord(raw.offset, raw.key, raw.value, at, written, int(raw.timestamp), None if ours else headers)
