"""Kept table of one partition of `users`: the newest record of each key, in an SQLite file.

The log stays the truth. A file holds what the records before its position have left, and both change in one
transaction: a process that is killed anywhere goes on from there. `UserTables` throws away a file that is of no use.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from zlib import crc32

from pipeline.events.erasure import is_erasure_key
from pipeline.events.user_state import SENT_ON
from pipeline.streams.codec import decode_key, encode_key
from pipeline.streams.interface import UnavailableError

FORMAT = 1
"""Version of the file, raised by each change of the schema: a file of another one is thrown away."""

PENDING = 2_000
"""Changes that are written together."""

TOGETHER = 500
"""Keys that are asked about together."""

_SCHEMA = """
CREATE TABLE users (
    key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL, seen REAL, ahead INTEGER);
CREATE INDEX ahead ON users (ahead) WHERE ahead IS NOT NULL;
CREATE TABLE applied (
    log TEXT NOT NULL, position INTEGER NOT NULL, last INTEGER, last_checksum INTEGER, users INTEGER NOT NULL,
    erasures INTEGER NOT NULL, sequence INTEGER NOT NULL, erased INTEGER NOT NULL, as_of REAL);
"""

_PASSING = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
"""Errors of the machine, not of the file."""


class TableError(UnavailableError):
    """A table cannot be used now: state is dropped and restored, from the log where the file was removed."""


class TableUnwritableError(TableError):
    """The disk takes no change now: the file is as it was, and what was not written stays in memory."""


class Row(NamedTuple):
    """Newest record of a key.

    Attributes:
        value: bytes of the record.
        seen: event time at which the user was last seen, seconds; None for a key that is of no user.
        sequence: number of the newest event in lockstep, else -1.
        ahead: largest offset of `interactions` handled ahead of the committed one, or None.
    """

    value: bytes
    seen: float | None
    sequence: int
    ahead: int | None


class Applied(NamedTuple):
    """State that the records before `position` have left.

    Attributes:
        log: identity of the log.
        position: next offset of `users` to apply.
        last, last_checksum: offset and checksum of the newest record that was applied, or None.
        users, erasures: number of keys of users, and of erasures.
        sequence: largest number of an event in lockstep, or -1.
        erased: 1 while the file may hold bytes of an erased user.
        as_of: wall clock at which the table had everything that was in the log, seconds since 1970, or None.
    """

    log: str
    position: int = 0
    last: int | None = None
    last_checksum: int | None = None
    users: int = 0
    erasures: int = 0
    sequence: int = -1
    erased: int = 0
    as_of: float | None = None


class UserTable:
    """The users of one partition. One thread writes; another may read.

    Args:
        path: the file, created if missing; None for a table in memory.
        log: identity of the log, for a new file.

    Attributes:
        path: as given.
        applied: state of the file.

    Raises:
        TableError: here and in every method. A damaged file was removed.
    """

    def __init__(self, path: Path | None = None, log: str = "") -> None:
        self.path = path
        self._connections: list[sqlite3.Connection] = []
        self._lock = Lock()
        self._pending: dict[str, Row | None] = {}
        self._last: tuple[int, int] | None = None
        with self._explained():
            self._writing = self._connected()
            self._reading = self._writing if path is None else self._connected()
            self.applied = self._begun(log)
        self.position = self.applied.position

    def get(self, key: str) -> bytes | None:
        """Newest value of a key, None without one."""
        pending = self._pending
        if key in pending:
            row = pending[key]
            return None if row is None else row.value
        raw = encode_key(key) or b""
        with self._lock, self._explained():
            found = self._reading.execute("SELECT value, checksum FROM users WHERE key = ?", (raw,)).fetchall()
            return _checked(raw, *found[0]) if found else None

    def put(self, offset: int, key: str, row: Row | None) -> None:
        """Apply a record, which the next `flush` writes; None for a tombstone."""
        self._pending[key] = row
        self._last = offset, crc32(b"" if row is None else row.value)
        self.position = offset + 1

    @property
    def is_full(self) -> bool:
        """True if the changes should be written."""
        return len(self._pending) >= PENDING

    def flush(self, position: int, as_of: float | None = None) -> None:
        """Write the changes and the position of the table in one transaction.

        Args:
            position: next offset of `users` to apply.
            as_of: wall clock at which nothing was in the log beyond it; None to keep the time of before.

        Raises:
            TableError: also if another process of the same name has written since.
        """
        before, self.position = self.applied, position
        with self._explained(), self._transaction():
            moved = self._writing.execute(
                "UPDATE applied SET position = ? WHERE position = ?", (position, before.position)
            )
            if not moved.rowcount:
                raise TableError(f"{self.path} was written by another process of the same --instance: starting over")
            after = self._written(before._replace(position=position))
            after = after._replace(as_of=before.as_of if as_of is None else as_of)
            fields = ", ".join(f"{name} = ?" for name in Applied._fields)
            self._writing.execute(f"UPDATE applied SET {fields}", after)
        self.applied, self._last = after, None
        self._pending = {}

    def __len__(self) -> int:
        """Return the number of users."""
        pending = {key: row for key, row in list(self._pending.items()) if is_user_key(key)}
        held = sum(row is not None for row in pending.values())
        return self.applied.users + held - self._written_of(list(pending))

    def user_ids(self) -> set[str]:
        """Ids of all users."""
        with self._lock, self._explained():
            rows = self._reading.execute("SELECT key FROM users").fetchall()
        written = {str(decode_key(key)) for (key,) in rows}
        changed = list(self._pending.items())
        written.difference_update(key for key, row in changed if row is None)
        return {key for key in (*written, *(key for key, row in changed if row is not None)) if is_user_key(key)}

    def ahead_of(self, position: int) -> list[bytes]:
        """Values that name offsets of `interactions` at or after a position; all changes must be written."""
        with self._explained():
            rows = self._reading.execute("SELECT key, value, checksum FROM users WHERE ahead >= ?", (position,))
            return [_checked(*row) for row in rows.fetchall()]

    def unseen(self, since: float, most: int) -> list[str]:
        """Users, longest unseen first, who were last seen before an event time; all changes must be written."""
        with self._explained():
            self._writing.execute("CREATE INDEX IF NOT EXISTS seen ON users (seen) WHERE seen IS NOT NULL")
            query = "SELECT key FROM users WHERE seen < ? ORDER BY seen LIMIT ?"
            return [str(decode_key(key)) for (key,) in self._reading.execute(query, (since, most)).fetchall()]

    def rewrite(self) -> None:
        """Rewrite the file, so that none of its bytes is of an erased user."""
        with self._explained():
            self._writing.execute("UPDATE applied SET erased = 0")
            self._writing.execute("VACUUM")
            self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.applied = self.applied._replace(erased=0)

    def close(self) -> None:
        """Close the file; what was not written is in the log."""
        for connection in self._connections:
            with suppress(sqlite3.Error):
                connection.close()

    def __del__(self) -> None:
        self.close()

    def remove(self) -> None:
        """Close and remove the file."""
        self.close()
        if self.path is not None:
            remove_file(self.path)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path or ":memory:", 30.0, isolation_level=None, check_same_thread=False)
        self._connections.append(connection)
        # A power cut may take the newest commits, and with them the position: the log has them.
        for pragma in ("secure_delete = ON", "cache_size = -4096", "synchronous = NORMAL", "journal_mode = WAL"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    def _begun(self, log: str) -> Applied:
        """State of the file; a new one gets its tables."""
        connection = self._writing
        with self._transaction():
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                for statement in _SCHEMA.split(";\n")[:-1]:
                    connection.execute(statement)
                values = Applied(log)
                connection.execute(f"INSERT INTO applied VALUES ({', '.join('?' * len(values))})", values)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            elif version != FORMAT:
                raise sqlite3.DatabaseError(f"it has format {version}, this version reads {FORMAT}")
            return Applied(*connection.execute("SELECT * FROM applied").fetchone())

    def _written(self, applied: Applied) -> Applied:
        """Write the changes; return the state after them."""
        users, erasures, sequence, erased = applied.users, applied.erasures, applied.sequence, applied.erased
        for key, row in self._pending.items():
            added = self._put(encode_key(key) or b"", row)
            if is_erasure_key(key):
                erasures, erased = erasures + added, 1
            elif is_user_key(key):
                users += added
            sequence = sequence if row is None else max(sequence, row.sequence)
        counts = applied._replace(users=users, erasures=erasures, sequence=sequence, erased=erased)
        return counts if self._last is None else counts._replace(last=self._last[0], last_checksum=self._last[1])

    def _put(self, key: bytes, row: Row | None) -> int:
        """Write a change; return by how much the number of keys grows."""
        if row is None:
            return -self._writing.execute("DELETE FROM users WHERE key = ?", (key,)).rowcount
        values = (row.value, crc32(row.value, crc32(key)), row.seen, row.ahead, key)
        changed = self._writing.execute(
            "UPDATE users SET value = ?, checksum = ?, seen = ?, ahead = ? WHERE key = ?", values
        )
        if changed.rowcount:
            return 0
        self._writing.execute("INSERT INTO users (value, checksum, seen, ahead, key) VALUES (?, ?, ?, ?, ?)", values)
        return 1

    def _written_of(self, keys: Sequence[str]) -> int:
        """Number of keys that the file has."""
        found = 0
        for start in range(0, len(keys), TOGETHER):
            part = [encode_key(key) for key in keys[start : start + TOGETHER]]
            query = f"SELECT count(*) FROM users WHERE key IN ({', '.join('?' * len(part))})"
            with self._lock, self._explained():
                found += int(self._reading.execute(query, part).fetchall()[0][0])
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writing.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writing.execute("COMMIT")
        except BaseException:
            if self._writing.in_transaction:
                with suppress(sqlite3.Error):
                    self._writing.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if (getattr(error, "sqlite_errorname", "") or "").startswith(_PASSING):
                raise TableUnwritableError(f"{self.path}: {error}; check the disk and the free space") from error
            self.remove()
            raise TableError(f"{self.path} is thrown away ({error}); its users are read again from the log") from error


def remove_file(path: Path) -> None:
    """Remove the file of a table, with what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _checked(key: bytes, value: bytes, checksum: int) -> bytes:
    if crc32(value, crc32(key)) != checksum:
        raise sqlite3.DatabaseError("a row does not have its checksum")
    return value


def is_user_key(key: str) -> bool:
    """True for a key of `users` that is a user's id."""
    return key != SENT_ON and not is_erasure_key(key)
