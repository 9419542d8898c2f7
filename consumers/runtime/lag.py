"""Lag of each stage: end of its input topic minus the offset that its group has committed."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.streams.interface import Log
from pipeline.streams.topics import EDITS, GATED, INTERACTIONS


@dataclass(frozen=True)
class Lag:
    """Position of a stage's group in one partition.

    Attributes:
        stage: name of the stage, and of its group.
        topic, partition: its input.
        position: next offset to read, as committed.
        end: offset after the last record.
    """

    stage: str
    topic: str
    partition: int
    position: int
    end: int

    @property
    def behind(self) -> int:
        """Records still to read: end minus position."""
        return max(0, self.end - self.position)


def lags(log: Log, partitions: int) -> Iterator[Lag]:
    """Read the lag of every stage, partition by partition.

    Args:
        log: has the topics; no group is joined.
        partitions: of the topics that several instances share.

    Raises:
        UnavailableError: the log is out of reach.
    """
    for stage, topic, count in (
        ("gate", INTERACTIONS, partitions),
        ("monitor", GATED, 1),
        ("trainer", EDITS, partitions),
    ):
        for partition in range(count):
            position, end = log.committed(stage, topic, partition), log.end_offset(topic, partition)
            yield Lag(stage, topic, partition, position, end)
