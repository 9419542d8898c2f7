"""Lines checked and written as records: good ones in one transaction, refused ones reported by their number."""

from collections.abc import Callable, Sequence

from consumers.producer.checks import Check, CheckedRecord
from consumers.producer.line_source import LONGEST, Line
from consumers.producer.named_feed import NamedFeed
from pipeline.errors import BadEvent
from pipeline.streams.codec import decode_value
from pipeline.streams.interface import Producer, Transaction

Commit = Callable[[Sequence[CheckedRecord], Line], None]
"""Function that writes records, given the last line that was read."""


class LineWriter:
    """Writes lines, and counts them.

    Args:
        check: of the topic.
        commit: writes the good records.
        refused: called with a sentence for each refused line.
        clock: seconds since 1970.

    Attributes:
        written: records written.
        refusals: lines refused.
    """

    def __init__(
        self, check: Check, commit: Commit, refused: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self.written = self.refusals = 0
        self._check, self._commit, self._refused, self._clock = check, commit, refused, clock

    def __call__(self, lines: list[Line]) -> None:
        """Write lines; blank ones are left out."""
        good: list[CheckedRecord] = []
        for line in lines:
            if line.text is not None and not line.text.strip():
                continue
            try:
                good.append(self._check(_decoded(line), self._clock()))
            except BadEvent as error:
                self.refusals += 1
                self._refused(f"line {line.number}: {error}")
        self._commit(good, lines[-1])
        self.written += len(good)


def to_feed(feed: NamedFeed) -> Commit:
    """Return a commit that records the position with the records."""
    return lambda records, last: feed.write(lambda transaction: _send(records, transaction), last.end, last.number)


def to_log(producer: Producer) -> Commit:
    """Return a commit of records alone, for lines that cannot be read again."""

    def commit(records: Sequence[CheckedRecord], _: Line) -> None:
        if records:
            with producer.transaction() as transaction:
                _send(records, transaction)

    return commit


def _send(records: Sequence[CheckedRecord], transaction: Transaction) -> None:
    for record in records:
        record.send(transaction)


def _decoded(line: Line) -> object:
    if line.text is None:
        raise BadEvent("oversize", f"the line has more than {LONGEST:,} bytes")
    return decode_value(line.text.strip())
