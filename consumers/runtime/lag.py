"""How far each stage is behind: end of what it reads minus what its group has committed."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.streams.interface import Log
from pipeline.streams.topics import EDITS, GATED, INTERACTIONS


@dataclass(frozen=True)
class Lag:
    """Where the group of a stage stands in a partition.

    Attributes:
        stage: name of the stage, and of its group.
        topic, partition: what it reads.
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
        """End minus position."""
        return max(0, self.end - self.position)


def lags(log: Log, partitions: int) -> Iterator[Lag]:
    """Look every stage up, partition by partition.

    Args:
        log: is asked; no group is joined.
        partitions: of the topics that are shared out.

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
