"""Reader of `regions`: every stage polls new revisions through it, and so passes over the same records.

A record that is no revision, or does not fit the regions before it, was written by another program: it is skipped, and
the numbers of the others stay as they are. One that names an edit whose outcome says that it was published is damaged:
without it the regions would silently go back, so it is an error. Neither is one skipped whose arrays are in a file that
cannot be read: the reader waits before it until the file is back.
"""

from collections.abc import Iterator

from adapters_store import ArrayFiles
from adapters_store.errors import StoreError
from consumers.runtime.malformed import MALFORMED, OnSkipped, described
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.errors import LogError
from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import resolved
from pipeline.streams.interface import Log, Record, UnavailableError
from pipeline.streams.topics import OUTCOMES, REGIONS


class RevisionFollower:
    """One reader of `regions`, with its position.

    Args:
        bank: the regions before any revision; None to read every revision, whatever regions it is of.
        files: array files of the adapters store; None to leave arrays that are in one unread.
        on_skipped: called with each record that is skipped.

    Attributes:
        next_revision: first offset that was not read yet.
    """

    def __init__(self, bank: RegionBank | None, files: ArrayFiles | None, on_skipped: OnSkipped) -> None:
        self.next_revision = 0
        self._bank = bank
        self._files = files
        self._on_skipped = on_skipped
        self._published: set[str] = set()
        self._outcomes = 0

    @property
    def revision(self) -> int:
        """The newest revision that was read, -1 before any: the regions are those of set-up."""
        return self.next_revision - 1

    def poll(self, log: Log, until: int | None = None) -> Iterator[tuple[int, Revision]]:
        """Read new revisions with their numbers, in order.

        Args:
            log: has the topic.
            until: first offset that is left unread; None: its end.

        Raises:
            UnavailableError: the arrays of a revision cannot be read; it is the next to be read again.
            LogError: a revision is damaged.
        """
        end = log.end_offset(REGIONS, 0) if until is None else until
        if end <= self.next_revision:
            return
        for record in log.read(REGIONS, 0, self.next_revision, end):
            revision = self._read(record, log)
            self.next_revision = record.offset + 1
            if revision is not None:
                yield record.offset, revision

    def _read(self, record: Record, log: Log) -> Revision | None:
        try:
            revision = self._resolved(Revision.from_record(value_of(record)), record)
            if self._bank is not None:
                self._bank = revision.after(self._bank)
        except UnavailableError:
            raise
        except MALFORMED as error:
            if self._is_published(record, log):
                raise LogError(
                    f"the revision of {REGIONS}/0 at offset {record.offset} is damaged ({described(error)}): restore "
                    "the log from a backup, or go on with the version that wrote it"
                ) from error
            self._on_skipped(record, error)
            return None
        return revision

    def _resolved(self, revision: Revision, record: Record) -> Revision:
        if self._files is None:
            return revision
        try:
            return resolved(revision, self._files)
        except StoreError as error:
            raise UnavailableError(
                f"the revision of {REGIONS}/0 at offset {record.offset} cannot take effect: {error}"
            ) from error

    def _is_published(self, record: Record, log: Log) -> bool:
        """True for a record that names an edit whose outcome says that it was published."""
        edit_id = (record.value or {}).get("edit_id")
        if not isinstance(edit_id, str):
            return False
        for outcome in new_records(log, OUTCOMES, self._outcomes):
            self._outcomes = outcome.offset + 1
            if (outcome.value or {}).get("published") is True:
                self._published.add(str(outcome.key))
        return edit_id in self._published
