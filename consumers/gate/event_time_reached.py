"""Event time that a partition of `interactions` had reached before an erasure without a time.

The time of the record may be a wall clock years ahead of the stream, and would keep the user out until the stream is
there. What stands before the erasure is known to the log alone, so it is the same after a restart and in any gate.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from heapq import nlargest

from consumers.gate.event_time_buffer import CORROBORATED
from pipeline.datasets.objects import InteractionFields
from pipeline.errors import BadEvent
from pipeline.events.erasure import Erasure
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import INTERACTIONS

LOOKED_BACK = 1_000
"""Offsets before an erasure whose events are looked at."""


class EventTimeReached:
    """Times of the newest events of one partition; each is read from the log when an erasure asks for it, and once.

    Args:
        columns: field -> key of a record, where the names do not show it.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._next = 0
        self._events: deque[tuple[int, str, float]] = deque()

    def dated(self, erasure: Erasure, record: Record, log: Log) -> Erasure:
        """Return an erasure with the event time reached before it, at most the time of its record.

        That is the time that `CORROBORATED` of the events have reached, so that one clock that is ahead keeps nobody
        out, or a later one of the user's own, none of which may come back.

        Args:
            erasure: without a time of its own.
            record: of the erasure.
            log: has the records before it.
        """
        self._read(record, log)
        newest = nlargest(CORROBORATED, (timestamp for _, _, timestamp in self._events))
        own = [timestamp for _, user_id, timestamp in self._events if user_id == erasure.user_id]
        reached = max([*newest[-1:], *own], default=erasure.timestamp)
        return replace(erasure, timestamp=min(erasure.timestamp, reached))

    def _read(self, record: Record, log: Log) -> None:
        """Read on to a record, and forget what is too far before it."""
        earliest = record.offset - LOOKED_BACK
        while self._events and self._events[0][0] < earliest:
            self._events.popleft()
        start = max(self._next, earliest, log.start_offset(INTERACTIONS, record.partition))
        for one in log.read(INTERACTIONS, record.partition, min(start, record.offset), record.offset):
            try:
                event = InteractionFields(one.value or {}, self._columns).interaction()
            except BadEvent:
                continue
            self._events.append((one.offset, event.user_id, event.timestamp))
        self._next = record.offset
