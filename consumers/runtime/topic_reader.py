"""Reads a topic of one partition outside any consumer group: `regions`, `outcomes`, `control`."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import LogError
from pipeline.streams.interface import Log, Record


def new_records(log: Log, topic: str, start: int) -> list[Record]:
    """The records of partition 0 from an offset to the present end."""
    end = log.end_offset(topic, 0)
    return list(log.read(topic, 0, start, end)) if end > start else []


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
