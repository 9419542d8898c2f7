"""Looking after an embedded log: what a broker's own cleaner does for a broker."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pipeline.streams import LocalLog, UnavailableError

INTERVAL = 600.0
"""Seconds between two compactions: users leave a record at every transaction, and a restart reads all of them."""


class Upkeep:
    """Compacts a log every so often.

    Nothing else is deleted: records have no time of arrival here, event time would end an old dataset as it is
    written, and `gated` is what edits are carried out again from.

    Args:
        path: of the log.
        clock: monotonic seconds.
        say: told of what has to wait.
    """

    def __init__(self, path: Path, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._path = path
        self._clock = clock
        self._say = say
        self._due = clock() + INTERVAL

    def __call__(self) -> int:
        """Compact what is compacted, if it is time; return how many records that was."""
        if self._clock() < self._due:
            return 0
        self._due = self._clock() + INTERVAL
        try:
            with closing(LocalLog(self._path)) as log:
                return sum(log.compact(topic.name) for topic in log.topics() if topic.kept == "compacted")
        except UnavailableError as error:
            self._say(f"{error}; the log is compacted later")
            return 0
