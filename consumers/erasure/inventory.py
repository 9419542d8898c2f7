"""Inventory of a user: what each topic holds of the time before the erasure, and when that goes.

A pseudonym is the user's while the log still has its key, in some state of the user. Of the other topics, and of the
files of a set-up, no record names a user.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.erasure.purge import TOMBSTONE
from consumers.erasure.request import erasure_in
from consumers.erasure.traces import TraceOf, traces_of_topics
from consumers.monitor.changelog import read_newest
from consumers.runtime.generations import active_log, log_in, read_generations
from pipeline.config import Config
from pipeline.events.user_state import pseudonyms_in
from pipeline.streams import path_of
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import DEAD_LETTERS, GATED, INTERACTIONS, MONITOR, USERS

DAY = 86_400.0
"""Seconds of a day."""

AT_ONCE = "at once"
BY_PURGE = "by the next compaction of raie up, or raie erase"
BY_RETENTION = "when retention ends"
BY_COMPACTION = "after compaction"
BY_SHADOW = "once its gate has read the erasure"
BY_PRUNING = "with `raie refresh prune`, or refresh.kept_days after the switch; or once its stages run again"


@dataclass(frozen=True)
class Remainder:
    """Records of one kind that a topic holds of a user.

    Attributes:
        place: the topic, and the kind of record where it has several.
        records: number of these.
        goes: the way in which they go.
        due: time at which the last of them goes, seconds since 1970, where it is known.
    """

    place: str
    records: int
    goes: str
    due: float | None = None


@dataclass(frozen=True)
class Inventory:
    """Everything that the log holds of a user.

    Attributes:
        until: event time of the erasure, None for a user who was not erased.
        newer: number of records of a later time: of a new user of the same id.
        remainders: all others.
    """

    until: float | None
    newer: int
    remainders: tuple[Remainder, ...]

    @property
    def is_left(self) -> bool:
        """True if anything is left that should be gone: of a user who was not erased, anything at all."""
        return any(r.records and (self.until is None or r.goes == AT_ONCE) for r in self.remainders)


def take_inventory(log: Log, user_id: str, config: Config) -> Inventory:
    """Read the topics that name users, from their start.

    Args:
        log: has the topics.
        user_id: the user.
        config: `log` and `data.columns`.
    """
    until, newer, found = erasure_in(log, user_id), 0, dict[str, list[Record]]()
    traces, embedded = traces_of_topics(config.data.columns), path_of(config.log.url) is not None
    for topic, trace_of in traces.items():
        records = list(_of_users(log, topic, trace_of, {user_id}))
        found[topic] = [record for record, timestamp in records if until is None or timestamp <= until]
        newer += len(records) - len(found[topic])
    pseudonyms = {name for record in found[USERS] for name in pseudonyms_in(record.value or {}, user_id)}
    aged = [_aged(topic, found[topic], embedded, config) for topic in (INTERACTIONS, GATED, DEAD_LETTERS)]
    linked = [_linked(log, topic, traces[topic], pseudonyms, embedded) for topic in (GATED, DEAD_LETTERS)]
    # Of a user who is back the monitor knows the new one.
    monitor = _monitor(log, pseudonyms if newer else {user_id, *pseudonyms}, until is not None, embedded)
    states = _states(found[USERS], embedded)
    return Inventory(until, newer, (*aged, *linked, *states, *monitor, *_elsewhere(log, user_id, until)))


def _elsewhere(log: Log, user_id: str, until: float | None) -> Iterator[Remainder]:
    """States of other generations: in the shadow an erasure is carried out, too, one that stands by has not read it."""
    mine, names = active_log(log).generation, traces_of_topics({})
    for one in read_generations(log).kept:
        if one.number == mine or not one.is_forked:
            continue
        found = _of_users(log_in(log, one.number), USERS, names[USERS], {user_id})
        states = {r.partition: r for r, timestamp in found if until is None or timestamp <= until}
        left = sum(record.value is not None for record in states.values())
        goes = BY_SHADOW if one.is_running else BY_PRUNING
        yield Remainder(f"{USERS} of generation {one.number}, and what it links", left, goes)


def _of_users(log: Log, topic: str, trace_of: TraceOf, names: Collection[str]) -> Iterator[tuple[Record, float]]:
    for partition in range(log.topic(topic).partitions):
        for record in _everything(log, topic, partition):
            trace = trace_of(record)
            if trace is not None and trace.user_id in names:
                yield record, trace.timestamp


def _everything(log: Log, topic: str, partition: int = 0) -> Iterator[Record]:
    start = log.start_offset(topic, partition)
    return log.read(topic, partition, start, max(start, log.acknowledged_end(topic, partition)))


def _aged(topic: str, records: list[Record], embedded: bool, config: Config) -> Remainder:
    """Records that go by age; on an embedded log by purge."""
    if embedded:
        return Remainder(topic, len(records), BY_PURGE)
    newest = max((record.written_at for record in records if record.written_at is not None), default=None)
    due = None if newest is None else newest + config.log.retention_days * DAY
    return Remainder(topic, len(records), BY_RETENTION, due)


def _linked(log: Log, topic: str, trace_of: TraceOf, pseudonyms: Collection[str], embedded: bool) -> Remainder:
    """Records under a pseudonym, which is the user's until the key goes, with the states of the user."""
    count = sum(1 for _ in _of_users(log, topic, trace_of, pseudonyms))
    return Remainder(f"{topic}: under a pseudonym", count, BY_PURGE if embedded else BY_COMPACTION)


def _monitor(log: Log, names: Collection[str], erased: bool, embedded: bool) -> Sequence[Remainder]:
    """State of the monitor, and parts of earlier ones."""
    newest = read_newest(log)
    named = newest.state is not None and any(names_user(newest.state["monitor"], name) for name in names)
    chunks = _chunks_before(log, newest.number) if erased else 0
    return (
        Remainder(f"{MONITOR}: newest snapshot", int(named), AT_ONCE),
        Remainder(f"{MONITOR}: chunks of earlier snapshots", chunks, BY_PURGE if embedded else BY_COMPACTION),
    )


def _states(records: list[Record], embedded: bool) -> Iterator[Remainder]:
    """Records of `users`: of each partition the newest is the state, or its tombstone."""
    goes = BY_PURGE if embedded else BY_COMPACTION
    newest = {record.partition: record for record in records}.values()
    tombstones = [record for record in newest if record.value is None]
    written = [record.written_at for record in tombstones if record.written_at is not None]
    yield Remainder(f"{USERS}: state", len(newest) - len(tombstones), AT_ONCE)
    yield Remainder(f"{USERS}: earlier states", len(records) - len(newest), goes)
    yield Remainder(
        f"{USERS}: tombstone", len(tombstones), goes, max(written) + TOMBSTONE if embedded and written else None
    )


def _chunks_before(log: Log, number: int) -> int:
    """Number of chunks of earlier snapshots of the monitor: singly they cannot be read, and may name the user."""
    chunks = [r.value for r in _everything(log, MONITOR) if r.value and r.value.get("kind") == "chunk"]
    return sum(value.get("snapshot") != number for value in chunks)


def names_user(state: Mapping[str, Any], user_id: str) -> bool:
    """True if a snapshot of the monitor's state names a user."""
    windows = (window for region in (*state["watched"], *state["ended"]) for window in region["seen"])
    return any(row[0] == user_id for row in state["users"]) or any(
        row[-1] == user_id for rows in (state["moves"], windows) for row in rows
    )
