"""Kept tables of users of one process: a file for each partition of `users`, in a folder of its own.

A table is thrown away, and its users are read from the start of `users`, if it is damaged, of another version or of
another log, ahead of the log, or too old: the log deletes a tombstone an hour after it was written (`KEPT`), and a
table that was last up to date before that might keep a user for ever.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from consumers.runtime.log_binding import identity_of
from consumers.runtime.malformed import unsaid
from consumers.runtime.user_table import Applied, TableError, TableUnwritableError, UserTable, remove_file
from pipeline.streams.interface import Log, UnavailableError
from pipeline.streams.topics import USERS

KEPT = 3000.0
"""Seconds after which a table that was not brought up to date is of no use; the log keeps tombstones for longer."""

CHECKPOINT = 10.0
"""Seconds between two checkpoints: a restart reads what was written since the last."""

SUFFIX = ".users"
"""Ending of the files' names."""

REWRITTEN = 600.0
"""Seconds between two rewritings of a table from which a user was erased."""


class UserTables:
    """Tables of one process.

    Args:
        folder: of their files; None, or one that cannot be written: a temporary one, and nothing is kept.
        say: shows a status line.
        clock: seconds since 1970.
        interval: seconds between two checkpoints.
    """

    def __init__(
        self,
        folder: Path | None,
        say: Callable[[str], None] = unsaid,
        clock: Callable[[], float] = time.time,
        interval: float = CHECKPOINT,
    ) -> None:
        self.clock = clock
        self._say, self._interval = say, interval
        self._due, self._rewritten = clock() + interval, clock()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._folder = self._writable(folder)

    def open(self, log: Log, partition: int, end: int) -> UserTable:
        """Open the table of a partition; one that cannot be used is thrown away, which is said.

        Args:
            log: has the users.
            partition: its number.
            end: of the partition of `users`; a table that is ahead of it is of another log.
        """
        path, identity = self._folder / f"{partition:05d}{SUFFIX}", identity_of(log)
        try:
            table = UserTable(path, identity)
        except TableError as error:
            self._say(str(error))
            return self._new(path, identity)
        refused = self._refusal(table.applied, log, partition, end, identity)
        if refused is None:
            return table
        self._say(f"{path} is thrown away ({refused}); its users are read again from {USERS}/{partition}")
        table.remove()
        return self._new(path, identity)

    def _new(self, path: Path, identity: str) -> UserTable:
        """A new table; in memory where the disk does not take it."""
        try:
            return UserTable(path, identity)
        except TableUnwritableError as error:
            self._say(f"{error}; these users are in memory alone until the next start")
            return UserTable(log=identity)

    def is_due(self) -> bool:
        """True once each interval: the tables shall be brought up to date."""
        now = self.clock()
        if 0 <= self._due - now <= self._interval:
            return False
        self._due = now + self._interval
        self._remove_unused(now)
        return True

    def rewrite(self, tables: list[UserTable]) -> None:
        """Rewrite the tables from which users were erased, if it is time."""
        now = self.clock()
        if any(table.applied.erased for table in tables) and not 0 <= now - self._rewritten < REWRITTEN:
            self._rewritten = now
            for table in tables:
                if table.applied.erased:
                    table.rewrite()

    def note_unwritable(self, error: TableUnwritableError) -> None:
        """Say that changes could not be written; they are tried again at the next checkpoint."""
        self._say(f"{error}; changes of users stay in memory meanwhile")

    def note_behind(self, partition: int, error: UnavailableError) -> None:
        """Say that the table of a partition that another process has could not be brought up to date."""
        self._say(f"{error}; users of {USERS}/{partition}, which another process has, are read later")

    def close(self) -> None:
        """Remove the folder, if it is temporary."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def _refusal(self, applied: Applied, log: Log, partition: int, end: int, identity: str) -> str | None:
        """Cause for which a table is of no use, or None."""
        if applied.log != identity:
            return "it is of another log"
        if applied.position > end:
            return "it is ahead of the log"
        if applied.last is not None and log.start_offset(USERS, partition) <= applied.last:
            records = list(log.read(USERS, partition, applied.last, applied.last + 1))
            # A newer record of its key may have replaced it.
            if records and crc32(records[0].raw or b"") != applied.last_checksum:
                return f"the log has another record at offset {applied.last}"
        if applied.position and not 0 <= self.clock() - (applied.as_of or 0.0) < KEPT:
            return "it was not brought up to date for so long that the log may have deleted tombstones"
        return None

    def _writable(self, folder: Path | None) -> Path:
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    return folder
        except OSError as error:
            self._say(f"the users of this process are not kept ({error}): each start reads all of {USERS}")
        self._temporary = tempfile.TemporaryDirectory()
        return Path(self._temporary.name)

    def _remove_unused(self, now: float) -> None:
        """Remove files, of any process beside this one, that nobody could use any more."""
        if self._temporary is not None:
            return
        for path in self._folder.parent.glob(f"*/*{SUFFIX}"):
            beside = path.with_name(f"{path.name}-wal")
            written = max((one.stat().st_mtime for one in (path, beside) if one.exists()), default=now)
            if now - written > 2 * KEPT:
                remove_file(path)
