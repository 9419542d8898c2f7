"""Positions of the gates moved past interactions that retention deleted before a gate had read them."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from consumers.gate.stopped_gates import GROUP, own_everything
from pipeline.streams.interface import Log
from pipeline.streams.topics import INTERACTIONS

INSTANCE = "topics-skip"
"""Name of the command in the group, and of its producer."""


@dataclass(frozen=True)
class Lost:
    """Offsets of one partition that no gate will read.

    Attributes:
        partition: of `interactions`.
        start: committed offset of the gates.
        end: first offset that is kept, where they go on.
    """

    partition: int
    start: int
    end: int


def skip_lost(log: Log, patience: float, clock: Callable[[], float]) -> list[Lost]:
    """Move the gates past what is deleted; return the lost offsets by partition.

    Args:
        log: has the topics.
        patience: seconds to wait until the group of the gates is empty; a gate that was killed is a member for a while.
        clock: monotonic seconds.

    Raises:
        LogError: a gate is running.
    """
    with closing(log.consumer(GROUP, (INTERACTIONS,), INSTANCE)) as consumer:
        producer = log.producer(INSTANCE)
        own_everything(log, consumer, clock() + patience, clock)
        kept = [(partition, log.start_offset(INTERACTIONS, partition)) for _, partition in consumer.assignment]
        positions = [Lost(p, consumer.committed(INTERACTIONS, p), first) for p, first in kept]
        lost = [one for one in positions if one.start < one.end]
        for one in lost:
            consumer.seek(INTERACTIONS, one.partition, one.end)
        with producer.transaction() as transaction:
            transaction.commit_offsets(consumer)
        return lost
