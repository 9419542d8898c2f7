"""The embedded log: one SQLite file in WAL mode, shared by the processes of one machine.

A commit is one SQLite transaction: records, ends of partitions and committed offsets, synced to the disk
before it returns. Whoever dies before that leaves nothing; SQLite rolls the file back when it is next used.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pipeline.errors import LogError
from pipeline.streams.checks import check_kept, check_same, differences, fenced_producer
from pipeline.streams.codec import MAX_RECORD_BYTES, decode_key, decode_timestamp, decode_value
from pipeline.streams.group_consumer import GroupConsumer
from pipeline.streams.interface import Consumer, Kept, Record, Topic, TopicPartition
from pipeline.streams.sqlite.database import Database
from pipeline.streams.sqlite.leases import Leases
from pipeline.streams.transaction import BufferedProducer, Outgoing, Positions, claimed

PAGE = 512
"""Records read at once: no reader holds a snapshot for longer, which would keep the WAL from being reset."""

_TOPICS = "SELECT name, partitions, kept, key FROM topics"


class LocalLog:
    """A `Log` in one file; threads may share it, a process opens its own.

    Args:
        path: the file; created if missing.
        clock: monotonic seconds, common to all processes on the machine; times leases, nothing else.
        lease: seconds without a poll after which a consumer's partitions go to the others of its group, who
            notice at most a third of it later.
        lock_timeout: seconds to wait for another process to finish a commit.

    Raises:
        LogError: if the file cannot be opened, is damaged, or is not ours; the message says what to do.
    """

    longest_record = MAX_RECORD_BYTES

    def __init__(
        self,
        path: str | Path,
        clock: Callable[[], float] = time.monotonic,
        lease: float = 10.0,
        lock_timeout: float = 30.0,
    ) -> None:
        self.path = Path(path)
        self._database = Database(self.path, lock_timeout)
        self._leases = Leases(self._database, clock, lease)
        self._topics: dict[str, Topic] = {}
        self._ids: dict[TopicPartition, int] = {}

    def create_topics(self, topics: Iterable[Topic]) -> None:
        """See `Log.create_topics`."""
        with self._database.write() as connection:
            for topic in topics:
                values = (topic.name, topic.partitions, topic.kept, topic.key)
                connection.execute("INSERT OR IGNORE INTO topics VALUES (?, ?, ?, ?)", values)
                check_same(_by_name(connection.execute(_TOPICS))[topic.name], topic)
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
            return BufferedProducer(self, transactional_id, _epoch(connection, transactional_id))

    def consumer(self, group: str, topics: Sequence[str], instance: str) -> GroupConsumer:
        """See `Log.consumer`."""
        return GroupConsumer(self, group, topics, instance)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `Log.read`."""
        first, last = self.bounds(topic, partition)
        check_kept(topic, partition, start, end, first)
        return self.scan(topic, partition, start, min(end, last))

    def end_offset(self, topic: str, partition: int) -> int:
        """See `Log.end_offset`."""
        return self.bounds(topic, partition)[1]

    def close(self) -> None:
        """See `Log.close`."""
        self._database.close()

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before `offset`; who still asks for one of them is told so."""
        where = self._id(topic, partition)
        with self._database.write() as connection:
            connection.execute("UPDATE partitions SET first = max(first, min(?, end)) WHERE id = ?", (offset, where))
            connection.execute('DELETE FROM records WHERE partition_id = ? AND "offset" < ?', (where, offset))

    def topics(self) -> list[Topic]:
        """Return all topics there are."""
        self._load_topics()
        return list(self._topics.values())

    def compact(self, topic: str) -> int:
        """Delete the records of a compacted topic that a newer one of the same key replaces.

        Tombstones stay, so that a reader which has seen the value before it learns of its end.

        Returns:
            How many records were deleted.
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

    # What producers ask for (`transaction.Sink`).

    def topic(self, name: str) -> Topic:
        """Return a topic, or raise LogError if there is none of this name."""
        if name not in self._topics:
            self._load_topics()
        if name not in self._topics:
            raise LogError(f"there is no topic {name} in {self.path}; create it first")
        return self._topics[name]

    def positions(self, consumer: Consumer) -> Positions:
        """Return what to commit of a consumer."""
        return claimed(self, consumer)

    def commit(
        self, transactional_id: str, epoch: int, sent: Sequence[Outgoing], positions: Sequence[Positions]
    ) -> list[tuple[str, int, int]]:
        """Write the records and the positions in one SQLite transaction, or raise and change nothing."""
        with self._database.write() as connection:
            if _epoch(connection, transactional_id) != epoch:
                raise fenced_producer(transactional_id)
            for position in positions:
                self._leases.check(connection, position.group, position.token, position.claims)
            offsets = self._append(connection, sent)
            _save(connection, positions)
        return offsets

    def abort(self, sent: Sequence[Outgoing]) -> None:
        """Do nothing: nothing was written."""

    # What consumers ask for (`consumer.Source`).

    def join(self, group: str, topics: Sequence[str], instance: str) -> str:
        """Enter the group in place of any older member of this instance."""
        return self._leases.join(group, [self.topic(name).name for name in topics], instance)

    def held(self, group: str, token: str) -> Mapping[TopicPartition, int]:
        """Beat, let go and claim what is due; return partition -> claim of all the member holds."""
        partitions = {topic.name: topic.partitions for topic in self._topics.values()}
        return self._leases.held(group, token, partitions)

    def leave(self, group: str, token: str) -> None:
        """Let everything go."""
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
                'SELECT "offset", key, value, milliseconds FROM records '
                'WHERE partition_id = ? AND "offset" >= ? AND "offset" < ? ORDER BY "offset" LIMIT ?',
                (where, start, end, PAGE),
            )
            for offset, key, value, milliseconds in rows:
                timestamp = decode_timestamp(milliseconds)
                yield Record(topic, partition, offset, decode_key(key), decode_value(value), timestamp)
            start = rows[-1][0] + 1 if len(rows) == PAGE else end

    def _append(self, connection: sqlite3.Connection, sent: Sequence[Outgoing]) -> list[tuple[str, int, int]]:
        offsets: list[tuple[str, int, int]] = []
        ends: dict[TopicPartition, int] = {}
        for outgoing in sent:
            where = (outgoing.topic, outgoing.partition)
            if where not in ends:
                ends[where] = _end(connection, self._id(*where))
            offsets.append((*where, ends[where]))
            ends[where] += 1
        rows = [
            (self._id(topic, number), offset, outgoing.key, outgoing.value, outgoing.timestamp)
            for (topic, number, offset), outgoing in zip(offsets, sent, strict=True)
        ]
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
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
        # Topics first: their partitions were created with them, so none is missing from what follows.
        self._topics = _by_name(self._database.rows(_TOPICS))
        rows: list[Any] = self._database.rows("SELECT topic, number, id FROM partitions")
        self._ids = {(topic, number): where for topic, number, where in rows}


def _by_name(rows: Iterable[Any]) -> dict[str, Topic]:
    return {name: Topic(name, partitions, cast(Kept, kept), key) for name, partitions, kept, key in rows}


def _epoch(connection: sqlite3.Connection, transactional_id: str) -> int:
    row: Any = connection.execute("SELECT epoch FROM producers WHERE id = ?", (transactional_id,)).fetchone()
    return int(row[0])


def _end(connection: sqlite3.Connection, partition_id: int) -> int:
    row: Any = connection.execute("SELECT end FROM partitions WHERE id = ?", (partition_id,)).fetchone()
    return int(row[0])


def _save(connection: sqlite3.Connection, positions: Sequence[Positions]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?)",
        [(each.group, *where, offset) for each in positions for where, offset in each.offsets.items()],
    )
