"""Reads topics outside any consumer group: those of one partition, and whole partitions of compacted ones."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import LogError
from pipeline.streams.interface import Log, Record


def new_records(log: Log, topic: str, start: int) -> list[Record]:
    """The records of partition 0 from an offset to the present end."""
    end = log.end_offset(topic, 0)
    return list(log.read(topic, 0, start, end)) if end > start else []


PASSES = 50
"""Readings of what came during the one before: the first takes long, the others a moment."""


def compacted_records(log: Log, topic: str, partition: int) -> Iterator[Record]:
    """Yield the records of a compacted topic until nothing more has come.

    A compaction in between removes records that later ones replace, and those may lie behind the end at which the
    reading began: without them a key would be missing that was there all the time.
    """
    start = log.start_offset(topic, partition)
    for _ in range(PASSES):
        end = log.acknowledged_end(topic, partition)
        if end <= start:
            return
        yield from log.read(topic, partition, start, end)
        start = end


def value_of(record: Record) -> Mapping[str, Any]:
    """The value of a record of a topic that has no tombstones.

    Raises:
        LogError: it is a tombstone.
    """
    if record.value is None:
        raise LogError(
            f"{record.topic}/{record.partition} has a record without a value at offset {record.offset}, which no stage "
            "of this pipeline writes: find the program that wrote it"
        )
    return record.value
