"""Request of an erasure, and the questions whether gate and monitor have carried it out."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.events.control import ERASE, ControlAct
from pipeline.events.erasure import Erasure, erased_until, erasure_key
from pipeline.streams.interface import Log, UnavailableError
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import CONTROL, GATED, INTERACTIONS, USERS

POLL = 0.1
"""Seconds between two questions."""


@dataclass(frozen=True)
class Requested:
    """An erasure that was written to the log.

    Attributes:
        home: partition of the user.
        offset: offset of its record in `interactions`, in that partition.
    """

    home: int
    offset: int


def request(log: Log, erasure: Erasure, by: str) -> Requested:
    """Write an erasure to the partition of its user, and to `control` who asked for it, without the user."""
    home = home_of(log, erasure.user_id)
    with log.producer("erase").transaction() as transaction:
        transaction.send(
            INTERACTIONS, erasure.to_record(), key=erasure.user_id, partition=home, timestamp=erasure.timestamp
        )
        details = {"users": 1, "unlearn": True} if erasure.unlearn else {"users": 1}
        act = ControlAct(ERASE, by, details=details)
        transaction.send(CONTROL, act.to_record(), key=ERASE, timestamp=erasure.timestamp)
    return Requested(home, transaction.offsets[0][2])


def home_of(log: Log, user_id: str) -> int:
    """Return the partition of a user."""
    return partition_of(user_id, log.topic(USERS).partitions)


def erasure_in(log: Log, user_id: str) -> float | None:
    """Return the event time up to which a user is erased, None if a gate has erased nobody of this id."""
    home, key = home_of(log, user_id), erasure_key(user_id)
    start, end = log.start_offset(USERS, home), log.end_offset(USERS, home)
    records = log.read(USERS, home, start, max(start, end))
    found = [until for until in (erased_until(r.value) for r in records if r.key == key) if until is not None]
    return found[-1] if found else None


def is_taken(log: Log, requested: Requested) -> bool:
    """True once a gate of a generation has passed the record, and so erased the user in the same transaction."""
    try:
        return log.committed("gate", INTERACTIONS, requested.home) > requested.offset
    except UnavailableError:
        # A broker finds no coordinator for a group that never was.
        return False


def is_forgotten(log: Log) -> bool:
    """True while the monitor has no erasure left to read."""
    read, end = log.committed("monitor", GATED, 0), log.acknowledged_end(GATED, 0)
    return all(record.value is not None for record in log.read(GATED, 0, read, max(read, end)))


def wait_until(
    is_true: Callable[[], bool],
    patience: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    progress: Callable[[], object] = lambda: None,
) -> bool:
    """Ask until something is true, for so many seconds in which there was no progress; return the last answer."""
    deadline, seen = clock() + patience, progress()
    while not is_true():
        if (now := progress()) != seen:
            deadline, seen = clock() + patience, now
        if clock() > deadline:
            return False
        sleep(POLL)
    return True
