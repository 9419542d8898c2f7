"""Connection to one SQLite file: schema, transactions, and errors with advice."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import LogError
from pipeline.streams.interface import UnavailableError

FORMAT = 2
"""Version of the file format, raised by each change of the schema: a version refuses the files of later ones."""

_APPLICATION_ID = 0x52414945
"""Application id in the header of our files: databases of other programs are refused."""

_SCHEMA = """
CREATE TABLE topics (name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, kept TEXT NOT NULL, key TEXT NOT NULL);
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL,
    first INTEGER NOT NULL DEFAULT 0, end INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, number));
CREATE TABLE records (
    partition_id INTEGER NOT NULL, "offset" INTEGER NOT NULL, key BLOB, value BLOB, milliseconds INTEGER NOT NULL,
    written INTEGER, PRIMARY KEY (partition_id, "offset")) WITHOUT ROWID;
CREATE TABLE producers (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL);
CREATE TABLE groups (name TEXT PRIMARY KEY, generation INTEGER NOT NULL);
CREATE TABLE members (
    joined INTEGER PRIMARY KEY AUTOINCREMENT, "group" TEXT NOT NULL, instance TEXT NOT NULL, token TEXT NOT NULL UNIQUE,
    topics TEXT NOT NULL, seen REAL NOT NULL, UNIQUE ("group", instance));
CREATE TABLE owners (
    "group" TEXT NOT NULL, topic TEXT NOT NULL, number INTEGER NOT NULL, token TEXT NOT NULL, claim INTEGER NOT NULL,
    PRIMARY KEY ("group", topic, number)) WITHOUT ROWID;
CREATE TABLE offsets (
    "group" TEXT NOT NULL, topic TEXT NOT NULL, number INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    PRIMARY KEY ("group", topic, number)) WITHOUT ROWID;
"""

_UPGRADES = {1: "ALTER TABLE records ADD COLUMN written INTEGER"}
"""Earlier format -> statement that makes it the next one."""

_ADVICE = {
    "SQLITE_BUSY": "another process holds its lock for too long: find and end it, or allow a longer lock_timeout",
    "SQLITE_FULL": "the disk is full: free space, then start again; nothing committed is lost",
    "SQLITE_IOERR": "reading or writing failed: check the disk and the free space, then start again",
    "SQLITE_CORRUPT": "the file is damaged: stop all processes and restore it from a backup, or save what can be "
    "saved with sqlite3's .recover",
    "SQLITE_NOTADB": "it is no SQLite file: name another path",
    "SQLITE_READONLY": "it cannot be written to: change its permissions or name another path",
    "SQLITE_CANTOPEN": "it cannot be opened: check that the folder exists and may be written to",
}

_PAUSE = 0.01
"""Seconds between two attempts to turn on the write-ahead log."""

_PASSING = ("SQLITE_BUSY", "SQLITE_FULL")
"""Temporary errors: the file is intact."""


class Database:
    """Connection to one file; threads may share it, a forked child may not.

    Args:
        path: the file; it and its folder are created if they are missing, and a file of an earlier format becomes one
            of this format, which versions of before refuse.
        lock_timeout: seconds to wait for another process to finish writing.

    Raises:
        LogError: here and in every method, with the path and advice.
    """

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            # One connection for all threads, used under one lock: a thread never sees uncommitted writes of another.
            self._connection = sqlite3.connect(path, lock_timeout, isolation_level=None, check_same_thread=False)
            self._set_up(self._connection, lock_timeout)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run one statement and return its rows."""
        with self._lock, self._explained():
            return self._open().execute(sql, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction: durable when the block ends, rolled back when it raises."""
        with self._lock, self._explained():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself on a full disk; a second rollback would hide the cause.
                if connection.in_transaction:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._explained():
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _set_up(self, connection: sqlite3.Connection, lock_timeout: float) -> None:
        try:
            connection.execute("PRAGMA synchronous = FULL")
            # Deleted content is overwritten with zeros, whatever this build of SQLite does by itself.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            self._create(connection)
            connection.execute("COMMIT")
            mode = _write_ahead(connection, time.monotonic() + lock_timeout)
            if mode != "wal":
                raise LogError(f"{self.path}: this file system has no write-ahead log (SQLite); use a local disk")
        except BaseException:
            connection.close()
            raise

    def _create(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION_ID:
            raise LogError(f"{self.path} is the database of another program; name another path")
        if tables and version != FORMAT and version not in _UPGRADES:
            raise LogError(f"{self.path} has format {version}, this version reads {FORMAT}; use the one that wrote it")
        due = [_UPGRADES[earlier] for earlier in range(version, FORMAT)] if tables else _SCHEMA.split(";\n")[:-1]
        for statement in due:
            connection.execute(statement)
        if due:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LogError(f"the log {self.path} is closed")
        return self._connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            kind = UnavailableError if _name(error).startswith(_PASSING) else LogError
            raise kind(f"{self.path}: {error}; {_advice(error)}") from error
        except OSError as error:
            raise LogError(f"{self.path}: {error}; {_ADVICE['SQLITE_CANTOPEN']}") from error


def _write_ahead(connection: sqlite3.Connection, end: float) -> str:
    """Turn on the write-ahead log, and return the mode of the file.

    Of two processes that open a new file at once SQLite refuses one here without waiting, since each may wait for the
    other; the refused one has let go of its lock and asks again until `end`, in monotonic seconds.
    """
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if not _name(error).startswith("SQLITE_BUSY") or time.monotonic() >= end:
                raise
            time.sleep(_PAUSE)


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or ""


def _advice(error: sqlite3.Error) -> str:
    known = [advice for start, advice in _ADVICE.items() if _name(error).startswith(start)]
    return known[0] if known else "this is not expected: please report it"
