"""Membership in the group of the gates while no gate runs, for commands that change the positions of the group."""

from collections.abc import Callable

from pipeline.errors import LogError
from pipeline.streams.interface import Consumer, Log, RecordsLostError
from pipeline.streams.topics import INTERACTIONS

GROUP = "gate"
"""Group of the gates."""

POLL = 0.1
"""Seconds of a poll while the group is joined."""


def own_everything(log: Log, consumer: Consumer, deadline: float, clock: Callable[[], float]) -> None:
    """Wait until a consumer owns all partitions of `interactions`; set each to its committed offset, and pause it.

    Args:
        log: has the topics.
        consumer: new member of the group.
        deadline: time by the clock after which a gate must be running.
        clock: monotonic seconds.

    Raises:
        LogError: a gate is running.
    """
    _poll(consumer, 0.0)
    while len(consumer.assignment) < log.topic(INTERACTIONS).partitions:
        if clock() > deadline:
            raise LogError("a gate is running on this log: stop all stages, then run the command again")
        _poll(consumer, POLL)
    for where in consumer.assignment:
        consumer.seek(*where, consumer.committed(*where))
    consumer.pause(consumer.assignment)


def _poll(consumer: Consumer, timeout: float) -> None:
    try:
        consumer.poll(1, timeout)
    except RecordsLostError:
        # The records are not wanted here.
        for where in consumer.assignment:
            consumer.pause([where])
