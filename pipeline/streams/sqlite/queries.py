"""SQL statements of the embedded log that need no state of it."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, cast

from pipeline.streams.interface import Kept, Topic
from pipeline.streams.transaction import Positions


def topics_by_name(rows: Iterable[Any]) -> dict[str, Topic]:
    """Return the topics of rows (name, partitions, kept, key), by name."""
    return {name: Topic(name, partitions, cast(Kept, kept), key) for name, partitions, kept, key in rows}


def producer_epoch(connection: sqlite3.Connection, transactional_id: str) -> int:
    """Return the epoch of the newest producer of this id."""
    row: Any = connection.execute("SELECT epoch FROM producers WHERE id = ?", (transactional_id,)).fetchone()
    return int(row[0])


def end_of_partition(connection: sqlite3.Connection, partition_id: int) -> int:
    """Return the end offset of a partition."""
    row: Any = connection.execute("SELECT end FROM partitions WHERE id = ?", (partition_id,)).fetchone()
    return int(row[0])


def save_positions(connection: sqlite3.Connection, positions: Sequence[Positions]) -> None:
    """Store positions as the committed offsets of their groups."""
    connection.executemany(
        "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?)",
        [(each.group, *where, offset) for each in positions for where, offset in each.offsets.items()],
    )


def amendment(new: tuple[bytes | None, bytes | None] | None) -> tuple[str, tuple[bytes | None, ...]]:
    """Return the statement that replaces key and value of a record, or deletes it, and its first parameters."""
    if new is None:
        return 'DELETE FROM records WHERE partition_id = ? AND "offset" = ?', ()
    return 'UPDATE records SET key = ?, value = ? WHERE partition_id = ? AND "offset" = ?', new
