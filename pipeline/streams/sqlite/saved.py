"""A saved log: any log as of one moment, in one file of the embedded log's format.

It has topics, bounds of partitions, records under their own offsets, and committed offsets of groups; no members and no
producers. A log that was on a broker has one table more, with what only a broker keeps of a record: its own stamp, and
the headers of other programs.
"""

import base64
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.config import LogSettings
from pipeline.errors import LogError
from pipeline.streams.interface import Topic, TopicPartition
from pipeline.streams.sqlite.database import Database
from pipeline.streams.sqlite.log import SqliteLog, path_of
from pipeline.streams.sqlite.queries import topics_by_name

Headers = Sequence[tuple[str, bytes | None]]

PAGE = 10_000
"""Records of one transaction of a writer."""

_BROKER = (
    'CREATE TABLE broker (partition_id INTEGER NOT NULL, "offset" INTEGER NOT NULL, stamp INTEGER, '
    'headers TEXT, PRIMARY KEY (partition_id, "offset")) WITHOUT ROWID'
)

_JOIN = 'LEFT JOIN broker b USING (partition_id, "offset")'

_PARTITION = "(SELECT id FROM partitions WHERE topic = ? AND number = ?)"


@dataclass(frozen=True, slots=True)
class SavedRecord:
    """One record as a log stores it; times in milliseconds since 1970.

    Attributes:
        offset: its number in the partition.
        key, value: bytes, or None.
        milliseconds: event time.
        written: wall clock of the writer, where the log has it.
        stamp: a broker's own stamp; None for a record of an embedded log.
        headers: all of a record on a broker, where they are not those of this program alone.
    """

    offset: int
    key: bytes | None
    value: bytes | None
    milliseconds: int
    written: int | None
    stamp: int | None = None
    headers: Headers | None = None


class SavedWriter:
    """Writes a new saved log.

    Args:
        path: does not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, lock_timeout=0.0)
        with self._database.write() as connection:
            connection.execute(_BROKER)

    def add_topic(self, topic: Topic, bounds: Sequence[tuple[int, int]]) -> None:
        """Add a topic with the first and the end offset of each of its partitions."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO topics VALUES (?, ?, ?, ?)", (topic.name, topic.partitions, topic.kept, topic.key)
            )
            connection.executemany(
                "INSERT INTO partitions (topic, number, first, end) VALUES (?, ?, ?, ?)",
                [(topic.name, number, *of) for number, of in enumerate(bounds)],
            )

    def add_records(self, topic: str, partition: int, records: Iterable[SavedRecord]) -> None:
        """Add records of a partition; their offsets are within its bounds."""
        rows: list[Any] = self._database.rows(f"SELECT {_PARTITION}", (topic, partition))
        page: list[SavedRecord] = []
        for record in records:
            page.append(record)
            if len(page) == PAGE:
                self._add(rows[0][0], page)
                page = []
        self._add(rows[0][0], page)

    def add_committed(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Add the committed offsets of a group."""
        with self._database.write() as connection:
            connection.executemany(
                "INSERT INTO offsets VALUES (?, ?, ?, ?)", [(group, *where, to) for where, to in offsets.items()]
            )

    def close(self) -> None:
        """Leave one file, that can be read where nothing can be written."""
        self._database.rows("PRAGMA journal_mode = DELETE")
        self._database.close()

    def _add(self, where: int, page: Sequence[SavedRecord]) -> None:
        with self._database.write() as connection:
            connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
                [(where, r.offset, r.key, r.value, r.milliseconds, r.written) for r in page],
            )
            connection.executemany(
                "INSERT INTO broker VALUES (?, ?, ?, ?)",
                [(where, r.offset, r.stamp, _text(r.headers)) for r in page],
            )


class SavedLog:
    """Reads a saved log, from a medium that may be read-only.

    Raises:
        LogError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
            self._broker = bool(self._rows("SELECT 1 FROM sqlite_master WHERE name = 'broker'"))
        except sqlite3.Error as error:
            raise LogError(f"{path}: {error}; it is no saved log") from error

    def topics(self) -> list[Topic]:
        """Return all topics."""
        return list(topics_by_name(self._rows("SELECT name, partitions, kept, key FROM topics")).values())

    def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """Return first and end offset of each partition."""
        rows = self._rows("SELECT topic, number, first, end FROM partitions ORDER BY topic, number")
        return {(topic, number): (first, end) for topic, number, first, end in rows}

    def committed(self) -> dict[str, dict[TopicPartition, int]]:
        """Return the committed offsets, by group."""
        found: dict[str, dict[TopicPartition, int]] = {}
        for group, topic, number, offset in self._rows('SELECT "group", topic, number, "offset" FROM offsets'):
            found.setdefault(group, {})[topic, number] = offset
        return found

    def records(self, topic: str, partition: int) -> Iterator[SavedRecord]:
        """Return the records of a partition, by offset."""
        columns, join = "NULL, NULL", ""
        if self._broker:
            columns, join = "b.stamp, b.headers", _JOIN
        rows = self._connection.execute(
            f'SELECT r."offset", key, value, milliseconds, written, {columns} FROM records r {join} '
            f'WHERE partition_id = {_PARTITION} ORDER BY r."offset"',
            (topic, partition),
        )
        for offset, key, value, milliseconds, written, stamp, headers in rows:
            others = None if headers is None else _headers(headers)
            yield SavedRecord(offset, key, value, milliseconds, written, stamp, others)

    def written_after(self, topic: str, partition: int, offset: int) -> int | None:
        """Return the time at which the first record at or after an offset was written; None where it is not known."""
        stamp, join = ("b.stamp", _JOIN) if self._broker else ("r.written", "")
        rows = self._connection.execute(
            f'SELECT {stamp} FROM records r {join} WHERE partition_id = {_PARTITION} AND r."offset" >= ? '
            'ORDER BY r."offset" LIMIT 1',
            (topic, partition, offset),
        ).fetchall()
        return rows[0][0] if rows else None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rows(self, sql: str) -> list[Any]:
        return self._connection.execute(sql).fetchall()


@contextmanager
def opened(saved: Path) -> Iterator[SqliteLog]:
    """Open a saved log as a log, to read it; it is one file again afterwards."""
    with closing(SqliteLog(saved)) as log:
        yield log
    with closing(Database(saved, lock_timeout=0.0)) as database:
        database.rows("PRAGMA journal_mode = DELETE")


def restore(saved: Path, url: str, _: LogSettings) -> None:
    """Make an embedded log of a saved one, complete or not at all.

    Args:
        saved: see `SavedLog`.
        url: `sqlite:///PATH` of a file that does not exist yet.

    Raises:
        LogError: it exists, or cannot be written.
    """
    path = path_of(url)
    if path is None:
        raise LogError(f"{url!r} names no file; use sqlite:///PATH")
    for there in (path, *(path.with_name(path.name + tail) for tail in ("-wal", "-shm"))):
        if there.exists():
            raise LogError(f"{there} exists, and a log is never overwritten: name a new one by log.url, or move it")
    draft = path.with_name(f".{path.name}.restoring")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        shutil.copyfile(saved, draft)
        with closing(Database(draft, lock_timeout=0.0)) as database:
            # What an erasure would miss: an embedded log has no headers.
            database.rows("DROP TABLE IF EXISTS broker")
            database.rows("PRAGMA journal_mode = DELETE")
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        raise LogError(f"{path} cannot be written: {error}") from error


def _text(headers: Headers | None) -> str | None:
    if headers is None:
        return None
    return json.dumps([[name, None if raw is None else base64.b64encode(raw).decode()] for name, raw in headers])


def _headers(text: str) -> Headers:
    return [(name, None if raw is None else base64.b64decode(raw)) for name, raw in json.loads(text)]
