"""The embedded log: one SQLite file in WAL mode, shared by the processes of one machine.

A commit is one SQLite transaction: records, ends of partitions and committed offsets, synced to the disk before it
returns. A process that dies before that has no visible effect; SQLite rolls the file back at its next use.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from pipeline.errors import LogError
from pipeline.streams.checks import check_all_kept, check_kept, check_same, differences, fenced_producer
from pipeline.streams.codec import (
    MAX_RECORD_BYTES,
    decode_key,
    decode_timestamp,
    decode_value,
    encode_key,
    encode_timestamp,
    encode_value,
)
from pipeline.streams.group_consumer import GroupConsumer
from pipeline.streams.interface import Consumer, Record, Topic, TopicPartition
from pipeline.streams.sqlite.database import Database
from pipeline.streams.sqlite.leases import Leases
from pipeline.streams.sqlite.queries import amendment, end_of_partition, producer_epoch, save_positions, topics_by_name
from pipeline.streams.transaction import BufferedProducer, Outgoing, Positions, positions_of

PAGE = 512
"""Records per read: a longer read would hold its snapshot, which prevents a reset of the WAL."""

DELETED = 5_000
"""Offsets of one transaction that deletes."""

OF_PROCESSES = ("owners", "members", "groups", "producers")
"""Tables of the processes that use a log at a moment; they are no content."""

Amended = tuple[str | None, Mapping[str, object] | None]
"""New key and value of a record."""

_TOPICS = "SELECT name, partitions, kept, key FROM topics"

_RECORDS = 'SELECT "offset", key, value, milliseconds, written FROM records WHERE partition_id = ?'


class SqliteLog:
    """A `Log` in one file; threads may share it, a process opens its own.

    Args:
        path: the file; created if missing.
        clock: monotonic seconds, common to all processes on the machine; used for leases only.
        lease: seconds without a poll after which a consumer's partitions go to the other members of its group, which
            claim them within a further third of it.
        lock_timeout: seconds to wait for another process to finish a commit.
        wall_clock: seconds since 1970; the time at which records are written.

    Raises:
        LogError: if the file cannot be opened, is damaged, or belongs to another program; the message has advice.
    """

    longest_record = MAX_RECORD_BYTES

    def __init__(
        self,
        path: str | Path,
        clock: Callable[[], float] = time.monotonic,
        lease: float = 10.0,
        lock_timeout: float = 30.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._database = Database(self.path, lock_timeout)
        self._leases = Leases(self._database, clock, lease)
        self._wall_clock = wall_clock
        self._topics: dict[str, Topic] = {}
        self._ids: dict[TopicPartition, int] = {}

    def create_topics(self, topics: Iterable[Topic]) -> None:
        """See `Log.create_topics`."""
        with self._database.write() as connection:
            for topic in topics:
                values = (topic.name, topic.partitions, topic.kept, topic.key)
                connection.execute("INSERT OR IGNORE INTO topics VALUES (?, ?, ?, ?)", values)
                check_same(topics_by_name(connection.execute(_TOPICS))[topic.name], topic)
                numbers = [(topic.name, number) for number in range(topic.partitions)]
                connection.executemany("INSERT OR IGNORE INTO partitions (topic, number) VALUES (?, ?)", numbers)

    def problems(self, topics: Iterable[Topic]) -> list[str]:
        """See `Log.problems`."""
        self._load_topics()
        return differences(self._topics, topics)

    def producer(self, transactional_id: str) -> BufferedProducer[Positions]:
        """See `Log.producer`."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO producers VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1",
                (transactional_id,),
            )
            return BufferedProducer(self, transactional_id, producer_epoch(connection, transactional_id))

    def consumer(self, group: str, topics: Sequence[str], instance: str) -> GroupConsumer:
        """See `Log.consumer`."""
        return GroupConsumer(self, group, topics, instance)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `Log.read`."""
        first, last = self.bounds(topic, partition)
        check_kept(topic, partition, start, end, first)
        return self.scan(topic, partition, start, min(end, last))

    def read_at(self, topic: str, partition: int, offsets: Iterable[int]) -> Iterator[Record]:
        """See `Log.read_at`."""
        wanted = sorted(set(offsets))
        check_all_kept(topic, partition, wanted, self.bounds(topic, partition)[0])
        return self._at(topic, partition, wanted)

    def start_offset(self, topic: str, partition: int) -> int:
        """See `Log.start_offset`."""
        return self.bounds(topic, partition)[0]

    def end_offset(self, topic: str, partition: int) -> int:
        """See `Log.end_offset`."""
        return self.bounds(topic, partition)[1]

    def acknowledged_end(self, topic: str, partition: int) -> int:
        """See `Log.acknowledged_end`: all parts of a commit become visible at once."""
        return self.end_offset(topic, partition)

    def close(self) -> None:
        """See `Log.close`."""
        self._database.close()

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before `offset`; a later read of one of them raises RecordsLostError."""
        where, (first, end) = self._id(topic, partition), self.bounds(topic, partition)
        # In pages: other processes write in between.
        while first < min(offset, end):
            first = min(first + DELETED, offset, end)
            with self._database.write() as connection:
                connection.execute("UPDATE partitions SET first = max(first, ?) WHERE id = ?", (first, where))
                connection.execute('DELETE FROM records WHERE partition_id = ? AND "offset" < ?', (where, first))

    def delete_topics(self, names: Iterable[str]) -> None:
        """See `Log.delete_topics`."""
        of_topic = "(SELECT id FROM partitions WHERE topic = ?)"
        with self._database.write() as connection:
            for name in names:
                connection.execute(f"DELETE FROM records WHERE partition_id IN {of_topic}", (name,))
                # The partitions stay: a process that still knows an id must not find another topic under it.
                connection.execute("UPDATE partitions SET first = end WHERE topic = ?", (name,))
                connection.execute("DELETE FROM offsets WHERE topic = ?", (name,))
                connection.execute("DELETE FROM topics WHERE name = ?", (name,))
        self._load_topics()

    def topics(self) -> list[Topic]:
        """Return all topics."""
        self._load_topics()
        return list(self._topics.values())

    def compact(self, topic: str) -> int:
        """Delete the records of a compacted topic that a newer one of the same key replaces.

        Tombstones stay, so that a reader of the earlier value also reads its deletion.

        Returns:
            Number of deleted records.
        """
        if self.topic(topic).kept != "compacted":
            raise LogError(f"topic {topic} is kept {self.topic(topic).kept!r}; only compacted topics are compacted")
        ids = [self._id(topic, number) for number in range(self.topic(topic).partitions)]
        with self._database.write() as connection:
            return sum(
                connection.execute(
                    'DELETE FROM records WHERE partition_id = ?1 AND "offset" NOT IN '
                    '(SELECT max("offset") FROM records WHERE partition_id = ?1 GROUP BY key)',
                    (where,),
                ).rowcount
                for where in ids
            )

    def amend(self, topic: str, partition: int, records: Mapping[int, Amended | None]) -> int:
        """Replace key and value of records by their offsets, or delete those with None, in one transaction.

        For the erasure of personal data alone: readers take it that a record never changes.

        Returns:
            Number of amended records.
        """
        where, total = self._id(topic, partition), 0
        with self._database.write() as connection:
            for offset, new in records.items():
                statement, values = amendment(None if new is None else (encode_key(new[0]), encode_value(new[1])))
                total += connection.execute(statement, (*values, where, offset)).rowcount
        return total

    def with_key(self, topic: str, partition: int, start: str) -> list[Record]:
        """Return the records whose key starts with a text, by offset."""
        raw = encode_key(start)
        return self._where(topic, partition, "substr(key, 1, length(?)) = ?", raw, raw)

    def tombstones(self, topic: str, partition: int) -> list[Record]:
        """Return the tombstones, by offset."""
        return self._where(topic, partition, "value IS NULL")

    def vacuum(self) -> None:
        """Rewrite the file and empty its write-ahead log, so that no page holds what was deleted.

        Zeros over deleted records are not enough: moved between pages, a record leaves a copy in unused space.
        """
        self._database.rows("VACUUM")
        self._database.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def save(self, to: Path) -> None:
        """See `LastingLog.save`."""
        self._database.rows("VACUUM INTO ?", (str(to),))
        with closing(Database(to, lock_timeout=0.0)) as copy:
            with copy.write() as connection:
                for table in OF_PROCESSES:
                    connection.execute(f"DELETE FROM {table}")
            # One file, that can be read where nothing can be written.
            copy.rows("PRAGMA journal_mode = DELETE")

    # Interface for producers (`transaction.Sink`).

    def topic(self, name: str) -> Topic:
        """Return a topic, or raise LogError if there is none of this name."""
        if name not in self._topics:
            self._load_topics()
        if name not in self._topics:
            raise LogError(f"there is no topic {name} in {self.path}; create it first")
        return self._topics[name]

    def positions(self, consumer: Consumer) -> Positions:
        """Return the positions of a consumer, to be committed."""
        return positions_of(self, consumer)

    def commit(
        self, transactional_id: str, epoch: int, sent: Sequence[Outgoing], positions: Sequence[Positions]
    ) -> list[tuple[str, int, int]]:
        """Write the records and the positions in one SQLite transaction, or raise without effect."""
        with self._database.write() as connection:
            if producer_epoch(connection, transactional_id) != epoch:
                raise fenced_producer(transactional_id)
            for position in positions:
                self._leases.check(connection, position.group, position.token, position.claims)
            offsets = self._append(connection, sent)
            save_positions(connection, positions)
        return offsets

    def abort(self, sent: Sequence[Outgoing]) -> None:
        """Do nothing: nothing was written."""

    # Interface for consumers (`group_consumer.Source`).

    def join(self, group: str, topics: Sequence[str], instance: str) -> str:
        """Enter the group in place of any older member of this instance."""
        return self._leases.join(group, [self.topic(name).name for name in topics], instance)

    def held(self, group: str, token: str) -> Mapping[TopicPartition, int]:
        """Send a heartbeat, release and claim partitions as due; return partition -> claim of the member."""
        partitions = {topic.name: topic.partitions for topic in self._topics.values()}
        return self._leases.held(group, token, partitions)

    def leave(self, group: str, token: str) -> None:
        """Release all partitions of the member."""
        self._leases.leave(group, token)

    def committed(self, group: str, topic: str, partition: int) -> int:
        """Return the group's committed offset, or the first kept if there is none."""
        rows = self._database.rows(
            'SELECT "offset" FROM offsets WHERE "group" = ? AND topic = ? AND number = ?', (group, topic, partition)
        )
        return cast(int, rows[0][0]) if rows else self.bounds(topic, partition)[0]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset kept and the end offset."""
        rows = self._database.rows("SELECT first, end FROM partitions WHERE id = ?", (self._id(topic, partition),))
        return cast("tuple[int, int]", rows[0])

    def scan(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Return the records with start <= offset < end, by offset."""
        where = self._id(topic, partition)
        while start < end:
            rows: list[Any] = self._database.rows(
                f'{_RECORDS} AND "offset" >= ? AND "offset" < ? ORDER BY "offset" LIMIT ?',
                (where, start, end, PAGE),
            )
            for row in rows:
                yield _record(topic, partition, *row)
            start = rows[-1][0] + 1 if len(rows) == PAGE else end

    def _at(self, topic: str, partition: int, wanted: Sequence[int]) -> Iterator[Record]:
        for start in range(0, len(wanted), PAGE):
            page = json.dumps(wanted[start : start + PAGE])
            yield from self._where(topic, partition, '"offset" IN (SELECT value FROM json_each(?))', page)

    def _where(self, topic: str, partition: int, condition: str, *values: object) -> list[Record]:
        query = f'{_RECORDS} AND {condition} ORDER BY "offset"'
        rows: list[Any] = self._database.rows(query, (self._id(topic, partition), *values))
        return [_record(topic, partition, *row) for row in rows]

    def _append(self, connection: sqlite3.Connection, sent: Sequence[Outgoing]) -> list[tuple[str, int, int]]:
        offsets: list[tuple[str, int, int]] = []
        ends: dict[TopicPartition, int] = {}
        for outgoing in sent:
            where = (outgoing.topic, outgoing.partition)
            if where not in ends:
                ends[where] = end_of_partition(connection, self._id(*where))
            offsets.append((*where, ends[where]))
            ends[where] += 1
        # Read under the write lock: waiting for it is no part of the past of these records.
        written = encode_timestamp(self._wall_clock())
        rows = [
            (self._id(topic, number), offset, outgoing.key, outgoing.value, outgoing.timestamp, written)
            for (topic, number, offset), outgoing in zip(offsets, sent, strict=True)
        ]
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
        moved = [(end, self._id(*where)) for where, end in ends.items()]
        connection.executemany("UPDATE partitions SET end = ? WHERE id = ?", moved)
        return offsets

    def _id(self, topic: str, partition: int) -> int:
        if (topic, partition) not in self._ids:
            self._load_topics()
        if (topic, partition) not in self._ids:
            raise LogError(f"there is no partition {partition} of topic {topic} in {self.path}")
        return self._ids[topic, partition]

    def _load_topics(self) -> None:
        # Topics first: their partitions were created with them, so none of these is missing below.
        self._topics = topics_by_name(self._database.rows(_TOPICS))
        rows: list[Any] = self._database.rows("SELECT topic, number, id FROM partitions")
        self._ids = {(topic, number): where for topic, number, where in rows}


def _record(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    milliseconds: int,
    written: int | None,
) -> Record:
    timestamp, written_at = decode_timestamp(milliseconds), None if written is None else decode_timestamp(written)
    return Record(topic, partition, offset, decode_key(key), decode_value(value), timestamp, written_at, value)


def open_log(url: str, _: object) -> SqliteLog:
    """Open the file of a `sqlite:///` URL.

    Raises:
        LogError: if the URL names no file, or the file cannot be used.
    """
    path = path_of(url)
    if path is None:
        raise LogError(f"{url!r} names no file; use sqlite:///PATH")
    return SqliteLog(path)


def path_of(url: str) -> Path | None:
    """Return the file of an embedded log; None for any other URL."""
    path = url.removeprefix("sqlite:///")
    return None if path in ("", url) else Path(path).expanduser()
