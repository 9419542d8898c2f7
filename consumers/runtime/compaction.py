"""Compaction of an embedded log: a broker has a cleaner of its own, a SQLite file has not."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pipeline.streams import LocalLog, UnavailableError

INTERVAL = 600.0
"""Seconds between two compactions: every transaction writes records of `users`, and a restart reads all of them."""


class Compaction:
    """Compacts the compacted topics of a log every `INTERVAL` seconds.

    Nothing else is deleted: records have event time only, by which an old data set would expire as it is written, and
    edits are carried out again from `gated`.

    Args:
        path: of the log.
        clock: monotonic seconds.
        say: shows a status line.
    """

    def __init__(self, path: Path, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._path = path
        self._clock = clock
        self._say = say
        self._due = clock() + INTERVAL

    def __call__(self) -> int:
        """Compact the log if it is due; return the number of records removed."""
        if self._clock() < self._due:
            return 0
        self._due = self._clock() + INTERVAL
        try:
            with closing(LocalLog(self._path)) as log:
                return sum(log.compact(topic.name) for topic in log.topics() if topic.kept == "compacted")
        except UnavailableError as error:
            self._say(f"{error}; the log is compacted later")
            return 0
