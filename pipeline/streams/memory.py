"""A log in memory, for unit tests and recovery tests; it ends with the process.

Each aborted record leaves an ABORT marker in its partition, so offsets skip numbers as on a broker, and a test can
compare a whole partition with a list.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pipeline.errors import LogError
from pipeline.streams.assignment import Member, plan_moves
from pipeline.streams.checks import (
    check_all_kept,
    check_kept,
    check_same,
    differences,
    fenced_consumer,
    fenced_producer,
    lost_partition,
)
from pipeline.streams.codec import MAX_RECORD_BYTES, decode_key, decode_timestamp, decode_value, encode_timestamp
from pipeline.streams.group_consumer import GroupConsumer
from pipeline.streams.interface import Consumer, Record, Topic, TopicPartition
from pipeline.streams.transaction import BufferedProducer, Outgoing, Positions, positions_of


class Marker(Enum):
    """Entry of a partition in place of a record."""

    ABORT = "abort"


ABORT = Marker.ABORT
"""Marker of a record of an aborted transaction."""


Entry = tuple[Outgoing, int] | Marker
"""A record with the milliseconds at which it was written, or a marker."""


@dataclass(slots=True)
class _Partition:
    start: int = 0
    entries: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    members: dict[str, Member] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    owners: dict[TopicPartition, tuple[str, int]] = field(default_factory=dict)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    generation: int = 0


class MemoryLog:
    """A `Log` in lists, for one process; its threads may share it.

    Args:
        wall_clock: seconds since 1970; the time at which records are written.
    """

    longest_record = MAX_RECORD_BYTES

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._topics: dict[str, Topic] = {}
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._groups: dict[str, _Group] = {}
        self._epochs: dict[str, int] = {}
        self._tokens = 0
        self._lock = threading.RLock()

    def create_topics(self, topics: Iterable[Topic]) -> None:
        """See `Log.create_topics`."""
        with self._lock:
            for topic in topics:
                check_same(self._topics.setdefault(topic.name, topic), topic)
                for number in range(topic.partitions):
                    self._partitions.setdefault((topic.name, number), _Partition())

    def problems(self, topics: Iterable[Topic]) -> list[str]:
        """See `Log.problems`."""
        return differences(self._topics, topics)

    def producer(self, transactional_id: str) -> BufferedProducer[Positions]:
        """See `Log.producer`."""
        with self._lock:
            epoch = self._epochs[transactional_id] = self._epochs.get(transactional_id, 0) + 1
        return BufferedProducer(self, transactional_id, epoch)

    def consumer(self, group: str, topics: Sequence[str], instance: str) -> GroupConsumer:
        """See `Log.consumer`."""
        return GroupConsumer(self, group, topics, instance)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `Log.read`."""
        check_kept(topic, partition, start, end, self.bounds(topic, partition)[0])
        return self.scan(topic, partition, start, end)

    def read_at(self, topic: str, partition: int, offsets: Iterable[int]) -> Iterator[Record]:
        """See `Log.read_at`."""
        wanted = sorted(set(offsets))
        check_all_kept(topic, partition, wanted, self.bounds(topic, partition)[0])
        return (record for offset in wanted for record in self.scan(topic, partition, offset, offset + 1))

    def start_offset(self, topic: str, partition: int) -> int:
        """See `Log.start_offset`."""
        return self.bounds(topic, partition)[0]

    def end_offset(self, topic: str, partition: int) -> int:
        """See `Log.end_offset`."""
        return self.bounds(topic, partition)[1]

    def acknowledged_end(self, topic: str, partition: int) -> int:
        """See `Log.acknowledged_end`: all parts of a commit become visible at once."""
        return self.end_offset(topic, partition)

    def contents(self, topic: str, partition: int = 0) -> list[Record | Marker]:
        """Return all entries of a partition, ABORT markers included."""
        entries = self._partition(topic, partition).entries
        return [e if isinstance(e, Marker) else _record(*e, offset) for offset, e in enumerate(entries)]

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before `offset`, as retention does on a broker."""
        with self._lock:
            kept = self._partition(topic, partition)
            kept.start = max(kept.start, min(offset, len(kept.entries)))

    def delete_topics(self, names: Iterable[str]) -> None:
        """See `Log.delete_topics`."""
        gone = set(names)
        with self._lock:
            self._topics = {name: topic for name, topic in self._topics.items() if name not in gone}
            self._partitions = {where: kept for where, kept in self._partitions.items() if where[0] not in gone}
            for group in self._groups.values():
                group.offsets = {where: offset for where, offset in group.offsets.items() if where[0] not in gone}

    def close(self) -> None:
        """See `Log.close`; there is nothing to release."""

    # Interface for producers (`transaction.Sink`).

    def topic(self, name: str) -> Topic:
        """Return a topic, or raise LogError if there is none of this name."""
        if name not in self._topics:
            raise LogError(f"there is no topic {name}; create it first")
        return self._topics[name]

    def positions(self, consumer: Consumer) -> Positions:
        """Return the positions of a consumer, to be committed."""
        return positions_of(self, consumer)

    def commit(
        self, transactional_id: str, epoch: int, sent: Sequence[Outgoing], positions: Sequence[Positions]
    ) -> list[tuple[str, int, int]]:
        """Append the records and store the positions, or raise without effect."""
        with self._lock:
            if self._epochs[transactional_id] != epoch:
                raise fenced_producer(transactional_id)
            for position in positions:
                self._check_claims(position)
            for position in positions:
                self._groups[position.group].offsets.update(position.offsets)
            written = encode_timestamp(self._wall_clock())
            return [(o.topic, o.partition, self._append(o.topic, o.partition, (o, written))) for o in sent]

    def abort(self, sent: Sequence[Outgoing]) -> None:
        """Leave an ABORT marker for each record."""
        with self._lock:
            for outgoing in sent:
                self._append(outgoing.topic, outgoing.partition, ABORT)

    # Interface for consumers (`group_consumer.Source`).

    def join(self, group: str, topics: Sequence[str], instance: str) -> str:
        """Enter the group in place of any older member of this instance."""
        with self._lock:
            state = self._groups.setdefault(group, _Group())
            if instance in state.instances:
                self.leave(group, state.instances[instance])
            self._tokens += 1
            token = f"{instance}#{self._tokens}"
            state.members[token] = Member(token, tuple(self.topic(name).name for name in topics))
            state.instances[instance] = token
            return token

    def held(self, group: str, token: str) -> Mapping[TopicPartition, int]:
        """Release and claim partitions as due; return partition -> claim of the member."""
        with self._lock:
            state = self._groups[group]
            if token not in state.members:
                raise fenced_consumer(group, token)
            owners = {where: owner for where, (owner, _) in state.owners.items()}
            partitions = {topic.name: topic.partitions for topic in self._topics.values()}
            todo = plan_moves(token, list(state.members.values()), owners, partitions)
            for where in todo.release:
                del state.owners[where]
            for where in todo.claim:
                state.generation += 1
                state.owners[where] = (token, state.generation)
            return {where: claim for where, (owner, claim) in state.owners.items() if owner == token}

    def leave(self, group: str, token: str) -> None:
        """Release all partitions of the member."""
        with self._lock:
            state = self._groups[group]
            state.members.pop(token, None)
            state.instances = {name: held for name, held in state.instances.items() if held != token}
            state.owners = {where: owner for where, owner in state.owners.items() if owner[0] != token}

    def committed(self, group: str, topic: str, partition: int) -> int:
        """Return the group's committed offset, or the first kept if there is none."""
        start, _ = self.bounds(topic, partition)
        return self._groups[group].offsets.get((topic, partition), start) if group in self._groups else start

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset kept and the end offset."""
        kept = self._partition(topic, partition)
        return kept.start, len(kept.entries)

    def scan(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Return the records with start <= offset < end, by offset."""
        entries = self._partition(topic, partition).entries
        for offset in range(start, min(end, len(entries))):
            entry = entries[offset]
            if not isinstance(entry, Marker):
                yield _record(*entry, offset)

    def _append(self, topic: str, partition: int, entry: Entry) -> int:
        entries = self._partition(topic, partition).entries
        entries.append(entry)
        return len(entries) - 1

    def _partition(self, topic: str, partition: int) -> _Partition:
        if (topic, partition) not in self._partitions:
            raise LogError(f"there is no partition {partition} of topic {topic}")
        return self._partitions[topic, partition]

    def _check_claims(self, positions: Positions) -> None:
        owners = self._groups[positions.group].owners
        for where, claim in positions.claims.items():
            if owners.get(where) != (positions.token, claim):
                raise lost_partition(positions.group, where)


def open_log(url: str, _: object) -> MemoryLog:
    """Return a new empty log.

    Raises:
        LogError: if the URL is not `memory:`.
    """
    if url != "memory:":
        raise LogError(f"{url!r} names no log in memory; use memory:")
    return MemoryLog()


def _record(entry: Outgoing, written: int, offset: int) -> Record:
    # Decoded for each reader, so that none can change the values of another one.
    return Record(
        entry.topic,
        entry.partition,
        offset,
        decode_key(entry.key),
        decode_value(entry.value),
        decode_timestamp(entry.timestamp),
        decode_timestamp(written),
        entry.value,
        traceparent=entry.traceparent,
    )
