"""Ids of the newest gated events over all users, restored from `gated` itself.

A client that lost the answer to a batch sends it again: an event of it is a duplicate however many other events of its
user the batch holds. Only events that were gated are remembered, so none that was refused is taken for one of them.

The span is a number of gated events, not a time: it is the same at any rate of events, whatever their clocks say, and
memory is bounded by it.
"""

from collections import OrderedDict
from collections.abc import Iterable

from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import GATED


class RememberedEvents:
    """The newest gated events, each by the name of its user in `gated` and its event id.

    Args:
        most: number of events.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._position = 0

    def __contains__(self, event: tuple[str, str]) -> bool:
        return event in self._ids

    def add(self, name: str, event_id: str) -> None:
        """Remember an event in place of the oldest one."""
        self._ids[name, event_id] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def forget(self, name: str) -> None:
        """Forget the events under a name of a user who was erased."""
        for event in [event for event in self._ids if event[0] == name]:
            del self._ids[event]

    def restore(self, log: Log) -> None:
        """Remember what was committed since the last call, by this gate or by another."""
        end = log.acknowledged_end(GATED, 0)
        # On a broker a transaction takes an offset beside those of its records.
        start = max(log.start_offset(GATED, 0), end - 2 * self._most, self._position)
        self._position = end
        self._remember(log.read(GATED, 0, min(start, end), end))

    def take(self, records: Iterable[Record], start: int, end: int) -> None:
        """Remember the records between two offsets, which somebody else has read; else a restore reads them again."""
        if start <= self._position < end:
            self._position = end
            self._remember(records)

    def _remember(self, records: Iterable[Record]) -> None:
        for record in records:
            user_id, event_id = ((record.value or {}).get(name) for name in ("user_id", "event_id"))
            if isinstance(user_id, str) and isinstance(event_id, str):
                self.add(user_id, event_id)
            elif record.value is None and record.key is not None:
                self.forget(record.key)
