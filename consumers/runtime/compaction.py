"""Compaction of an embedded log: a broker has a cleaner of its own, a SQLite file has not."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pipeline.errors import LogError
from pipeline.streams import SqliteLog

INTERVAL = 600.0
"""Seconds between two compactions: every transaction writes records of `users`, and a restart reads all of them."""


class Compaction:
    """Compacts the compacted topics of a log every `INTERVAL` seconds, and purges erased users from it.

    Nothing else is deleted: records have event time only, by which an old data set would expire as it is written, and
    edits are carried out again from `gated`.

    Args:
        path: of the log.
        clock: monotonic seconds.
        say: shows a status line.
        purge: removes what erased users have left, and returns the number of records removed or changed.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float],
        say: Callable[[str], None],
        purge: Callable[[SqliteLog], int],
    ) -> None:
        self._path = path
        self._clock = clock
        self._say = say
        self._purge = purge
        self._due = clock() + INTERVAL

    def __call__(self) -> int:
        """Compact the log if it is due; return the number of records removed or changed."""
        if self._clock() < self._due:
            return 0
        self._due = self._clock() + INTERVAL
        try:
            with closing(SqliteLog(self._path)) as log:
                return compact(log) + self._purge(log)
        except LogError as error:
            self._say(f"{error}; the log is compacted later")
            return 0


def compact(log: SqliteLog) -> int:
    """Compact all compacted topics; return the number of records removed."""
    return sum(log.compact(topic.name) for topic in log.topics() if topic.kept == "compacted")
