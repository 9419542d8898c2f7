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
        erasure: the erasure.
        offset: offset of its record in `interactions`, in the partition of the user.
        since: end of that partition of `users` before it was written.
    """

    erasure: Erasure
    offset: int
    since: int


def request(log: Log, erasure: Erasure, by: str) -> Requested:
    """Write an erasure to the partition of its user, and to `control` who asked for it, without the user."""
    home = home_of(log, erasure.user_id)
    since = log.end_offset(USERS, home)
    with log.producer("erase").transaction() as transaction:
        transaction.send(
            INTERACTIONS, erasure.to_record(), key=erasure.user_id, partition=home, timestamp=erasure.timestamp
        )
        details = {"users": 1, "unlearn": True} if erasure.unlearn else {"users": 1}
        act = ControlAct(ERASE, by, details=details)
        transaction.send(CONTROL, act.to_record(), key=ERASE, timestamp=erasure.timestamp)
    return Requested(erasure, transaction.offsets[0][2], since)


def home_of(log: Log, user_id: str) -> int:
    """Return the partition of a user."""
    return partition_of(user_id, log.topic(USERS).partitions)


def erasure_in(log: Log, user_id: str, since: int = 0) -> float | None:
    """Return the event time up to which a user is erased, None if a gate has erased nobody of this id.

    Args:
        log: has the topics.
        user_id: the user.
        since: offset of the user's partition of `users` to read from; what is compacted away is passed over.
    """
    home, key = home_of(log, user_id), erasure_key(user_id)
    start, end = max(since, log.start_offset(USERS, home)), log.end_offset(USERS, home)
    records = log.read(USERS, home, start, max(start, end))
    found = [until for until in (erased_until(r.value) for r in records if r.key == key) if until is not None]
    return found[-1] if found else None


def is_taken(log: Log, requested: Requested) -> bool:
    """True once a gate has erased the user; where nothing was left to erase, once it has passed the record."""
    erasure = requested.erasure
    until = erasure_in(log, erasure.user_id, requested.since)
    if until is not None and (until >= erasure.timestamp or not erasure.is_dated):
        return True
    try:
        return log.committed("gate", INTERACTIONS, home_of(log, erasure.user_id)) > requested.offset
    except UnavailableError:
        # A broker finds no coordinator for a group that never was.
        return False


def is_forgotten(log: Log) -> bool:
    """True while the monitor has no erasure left to read."""
    read, end = log.committed("monitor", GATED, 0), log.acknowledged_end(GATED, 0)
    return all(record.value is not None for record in log.read(GATED, 0, read, max(read, end)))


def wait_until(
    is_true: Callable[[], bool], patience: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> bool:
    """Ask until something is true, for so many seconds; return the last answer."""
    deadline = clock() + patience
    while not is_true():
        if clock() > deadline:
            return False
        sleep(POLL)
    return True
