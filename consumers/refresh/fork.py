"""Fork of the gate: users and positions of the generation that answers, copied for one that will run beside it.

    positions of the gate ──► records of `users` before them ──► users.N, positions of gate.N

So the new gate has the histories, pseudonyms, remembered events and erasures that the other had at one moment, and
reads every later interaction itself. Users and positions are of one moment where no commit lies between two looks at
the positions. While commits leave no gap, or where compaction has removed what a user was then, the copy has some users
as they were a little later; the new gate recognises their events by the ids that it remembers. Items of histories are
of the time of the new set-up: none was taken since.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from consumers.gate.stopped_gates import GROUP, own_everything
from consumers.runtime.topic_reader import compacted_records
from pipeline.events.user_state import committed_input, forked
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import INTERACTIONS, USERS

INSTANCE = "refresh"
"""Name in the group of the new gates, and of the producer."""

LOOKS = 50
"""Looks for a moment without a commit."""

TOGETHER = 500
"""Users of one transaction."""

User = tuple[str, Mapping[str, Any], float]
"""Key, value and event time of a record of `users`."""


@dataclass(frozen=True)
class Moment:
    """A moment of one partition.

    Attributes:
        position: of the gate in `interactions`.
        end: of `users`.
    """

    position: int
    end: int


def fork(log: Log, new: Log, patience: float, clock: Callable[[], float]) -> list[int]:
    """Copy users and positions.

    Args:
        log: as the generation sees it whose gate runs.
        new: as the new one sees it; has its topics, without users.
        patience: seconds to wait for the partitions of the new gate's group.
        clock: monotonic seconds.

    Returns:
        First offset of `interactions` that the new gate reads, by partition.

    Raises:
        LogError: a gate of the new generation runs, or a user cannot be read.
    """
    moments = [_moment(log, partition) for partition in range(log.topic(INTERACTIONS).partitions)]
    producer = new.producer(INSTANCE)
    for partition, moment in enumerate(moments):
        users = list(_users(log, partition, moment))
        for first in range(0, len(users), TOGETHER):
            with producer.transaction() as transaction:
                for key, value, timestamp in users[first : first + TOGETHER]:
                    transaction.send(USERS, value, key=key, partition=partition, timestamp=timestamp)
    with closing(new.consumer(GROUP, (INTERACTIONS,), INSTANCE)) as consumer:
        own_everything(new, consumer, clock() + patience, clock)
        for partition, moment in enumerate(moments):
            consumer.seek(INTERACTIONS, partition, moment.position)
        with producer.transaction() as transaction:
            transaction.commit_offsets(consumer)
    return [moment.position for moment in moments]


def _moment(log: Log, partition: int) -> Moment:
    for _ in range(LOOKS):
        found = Moment(log.committed(GROUP, INTERACTIONS, partition), log.acknowledged_end(USERS, partition))
        if log.committed(GROUP, INTERACTIONS, partition) == found.position:
            break
    return found


def _users(log: Log, partition: int, moment: Moment) -> Iterator[User]:
    """Users of a partition at a moment: of each the newest record before it, else the first after it."""
    newest: dict[str, Record] = {}
    for record in compacted_records(log, USERS, partition):
        if record.key is not None and (record.offset < moment.end or record.key not in newest):
            newest[record.key] = record
    for key, record in newest.items():
        if record.value is not None:
            # A state of a later position would not be taken for a committed one.
            position = min(committed_input(record.value), moment.position)
            yield key, {**forked(record.value), "input": position}, record.timestamp
