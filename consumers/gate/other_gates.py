"""Events that other gates have scored: what is popular, and what follows what, is of all users and not of one gate's.

    gated ──► events of other gates, once a second, before a batch is scored ──► counts

Each record of `gated` says up to where its gate had counted the others by then (`followed`), so that a restart counts
in the same order. What a gate *learns* (the weights of the second stage, the origin prior) stays its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from consumers.runtime.malformed import OnSkipped, readable
from pipeline.events.gated import GatedEvent
from pipeline.events.unlearning import is_event
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import GATED

OnRead = Callable[[Sequence[Record], int, int], None]
"""Called with the records between two offsets of `gated`, which were read anyway."""


def ignored(records: Sequence[Record], start: int, end: int) -> None:
    """Do nothing with records that were read."""


EVERY = 1.0
"""Seconds between two readings."""

TOGETHER = 1_000
"""Most records in memory at once."""

AT_ONCE = 5_000
"""Most records of a reading, so that a gate that has much to read goes on scoring."""


class OtherGates:
    """One gate's position in `gated`.

    Args:
        instance: name of the gate.
        most: newest records that a gate without a snapshot begins with.
        event_of: reads a record.
        on_skipped: called with each record that cannot be read.
        on_read: called with all records that are read, before any of them is counted.
        clock: seconds since any moment.

    Attributes:
        position: first offset that was not read yet; None before the first reading.
        counted: offset behind the newest event of another gate that was read, None where there was none.
    """

    def __init__(
        self,
        instance: str,
        most: int,
        event_of: Callable[[Record], GatedEvent],
        on_skipped: OnSkipped,
        on_read: OnRead,
        clock: Callable[[], float],
    ) -> None:
        self.position: int | None = None
        self.counted: int | None = None
        self._instance, self._most, self._event_of, self._on_skipped = instance, most, event_of, on_skipped
        self._on_read, self._clock, self._next = on_read, clock, -math.inf

    def poll(self, log: Log) -> Iterator[list[GatedEvent]]:
        """Read new records, a second after the end was reached; yield events of other gates, in order."""
        if self._clock() < self._next:
            return
        end = log.end_offset(GATED, 0)
        if self.position is None:
            self.position = end - self._most
        until = min(end, max(self.position, log.start_offset(GATED, 0)) + AT_ONCE)
        if until == end:
            self._next = self._clock() + EVERY
        yield from self.read(log, until)

    def read_all(self, log: Log) -> Iterator[list[GatedEvent]]:
        """Read all new records; yield events of other gates, in order."""
        end = log.end_offset(GATED, 0)
        if self.position is None:
            self.position = end - self._most
        yield from self.read(log, end)

    def read(self, log: Log, until: int) -> Iterator[list[GatedEvent]]:
        """Read records up to an offset; yield events of other gates, in order."""
        start = max(log.start_offset(GATED, 0), self.position or 0)
        self.position = max(start, until)
        for begin in range(start, until, TOGETHER):
            together = list(log.read(GATED, 0, begin, min(begin + TOGETHER, until)))
            self._on_read(together, begin, min(begin + TOGETHER, until))
            records = list(filter(self._is_of_another, together))
            if records:
                self.counted = records[-1].offset + 1
            yield [e for e in readable(records, self._event_of, self._on_skipped) if e.online is not None]

    def pass_own(self, log: Log) -> int:
        """Pass over the gate's own records up to one of another gate that was not read; return the position."""
        start, end = max(log.start_offset(GATED, 0), self.position or 0), log.end_offset(GATED, 0)
        own: list[Record] = []
        for record in log.read(GATED, 0, start, max(start, end)):
            if self._is_of_another(record):
                end = record.offset
                break
            own.append(record)
        self.position = max(start, end)
        self._on_read(own, start, self.position)
        return self.position

    def _is_of_another(self, record: Record) -> bool:
        return is_event(record) and (record.value or {}).get("gate") not in (None, self._instance)
