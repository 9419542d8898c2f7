"""Records of the log that cannot be read: every stage skips them one by one, counts them by topic, and reports them."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pipeline.errors import DataError, LogError
from pipeline.streams.interface import Record
from pipeline.telemetry import Metrics

T = TypeVar("T")

MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, DataError, LogError)
"""Errors that readers of a record's value raise: a field is missing, of another type, or out of range."""

OnSkipped = Callable[[Record, Exception], None]
"""Function that is called with a skipped record and the error."""

REMEMBERED = 100_000
"""Skipped records that are remembered, so that each is counted once."""


def unreported(_record: Record, _error: Exception) -> None:
    """Report nothing: another reader of the same topic does."""


def unsaid(_line: str) -> None:
    """Show nothing: a stage that tests run has no terminal."""


def readable(records: Iterable[Record], read: Callable[[Record], T], on_skipped: OnSkipped) -> Iterator[T]:
    """Read records one by one, and skip those that cannot be read.

    Args:
        records: records in their order.
        read: reads one; it must not query the log, whose errors are no fault of a record.
        on_skipped: called with each record for which `read` raised one of `MALFORMED`.

    Yields:
        Results of the other records.
    """
    for record in records:
        try:
            found = read(record)
        except MALFORMED as error:
            on_skipped(record, error)
        else:
            yield found


class SkippedRecords:
    """Counts skipped records by topic, each once however often it is read, and reports the first of each topic.

    Args:
        metrics: of the process.
        say: shows a status line.
    """

    def __init__(self, metrics: Metrics, say: Callable[[str], None]) -> None:
        self._metrics, self._say = metrics, say
        self._reported: set[str] = set()
        self._counted: OrderedDict[tuple[str, int, int], None] = OrderedDict()

    def __call__(self, record: Record, error: Exception) -> None:
        """Count a record; the message of the first one of a topic names its offset and the error."""
        where = (record.topic, record.partition, record.offset)
        if where in self._counted:
            # State is restored from the same records again and again.
            return
        self._counted[where] = None
        if len(self._counted) > REMEMBERED:
            self._counted.popitem(last=False)
        self._metrics.skipped_records.labels(record.topic).inc()
        if record.topic not in self._reported:
            self._reported.add(record.topic)
            self._say(
                f"the record of {record.topic}/{record.partition} at offset {record.offset} cannot be read and is "
                f"skipped ({described(error)}): find the program that wrote it; more of this topic are counted in "
                "raie_skipped_records_total"
            )


def described(error: Exception) -> str:
    """Type and message of an error in a line: the message of a KeyError alone is only the name of a field."""
    return f"{type(error).__name__}: {str(error)[:300]}"
