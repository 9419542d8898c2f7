"""Reader of `regions`: every stage polls new revisions through it."""

from collections.abc import Iterator

from consumers.runtime.topic_reader import value_of
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Log
from pipeline.streams.topics import REGIONS


class RevisionFollower:
    """One reader of `regions`, with its position.

    Attributes:
        next_revision: first offset that was not read yet.
    """

    def __init__(self) -> None:
        self.next_revision = 0

    @property
    def revision(self) -> int:
        """The newest revision that was read, -1 before any: the regions are those of set-up."""
        return self.next_revision - 1

    def poll(self, log: Log, until: int | None = None) -> Iterator[tuple[int, Revision]]:
        """Read new revisions with their numbers, in order.

        Args:
            log: has the topic.
            until: first offset that is left unread; None: its end.
        """
        end = log.end_offset(REGIONS, 0) if until is None else until
        if end <= self.next_revision:
            return
        for record in log.read(REGIONS, 0, self.next_revision, end):
            self.next_revision = record.offset + 1
            yield record.offset, Revision.from_record(value_of(record))
