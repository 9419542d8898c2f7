"""Buffer of one partition's events between the log and the gate, in order of event time.

    frontier    next offset never read
    held        events read, waiting for earlier ones
    done        offsets handled although an earlier event is held
    deferred    records (refusals) that are written once the position has passed them: in the same transaction that
                commits it, so never twice
    position    offset that may be committed: the first held event, else the frontier

Live, an event is due once the partition's event time is past it by the allowed lateness; in lockstep, once its number
is next. The partition's event time is not the newest timestamp but the one that `CORROBORATED` of the newest
timestamps have reached, so a single clock that is years ahead changes nothing.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Generic, TypeVar

from pipeline.events.interaction import Interaction
from pipeline.events.loaded_history import LoadedHistory

CORROBORATED = 3
"""Timestamps that must have reached a time before it is the partition's event time."""

LOOKED_AT = 64
"""Newest timestamps of a partition among which these are counted."""

MOST_WAITED = 4096
"""Most later events of the partition that an event waits for: a timestamp of 2099 must not stop its partition."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A valid event that was read.

    Attributes:
        partition, offset: in `interactions`.
        event: the interaction.
        past: True for an event of the set-up slice: it enters the history and is not scored.
        sequence: its number in lockstep, else -1.
        cut: True if a batch ends with it in lockstep.
        number: number of events of the partition read before it since the start.
        written_at: wall clock at which its record was written, seconds since 1970, or None.
        traceparent: trace context of its record, or None.
        disliked: True for a dislike: it enters the history as one and is not scored.
        loaded: history of before the live stream, whose newest event this is; None for a single event.
    """

    partition: int
    offset: int
    event: Interaction
    past: bool
    sequence: int
    cut: bool
    number: int = 0
    written_at: float | None = field(default=None, compare=False)
    loaded: LoadedHistory | None = None
    traceparent: str | None = field(default=None, compare=False)
    disliked: bool = False

    @property
    def is_scored(self) -> bool:
        """True for an event of the stream that counts."""
        return not (self.past or self.disliked)


def in_time(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Arrivals by event time; by event id at equal times, as in a replay."""
    return sorted(arrivals, key=lambda a: (a.event.timestamp, a.event.event_id))


def batches(stream: Sequence[Arrival], size: int) -> Iterator[Sequence[Arrival]]:
    """Split arrivals into batches of at most `size` that are scored; dislikes are in that of the one they precede."""
    ends = [number + 1 for number, arrival in enumerate(stream) if arrival.is_scored][size - 1 :: size]
    for start, stop in zip([0, *ends], [*ends, len(stream)], strict=True):
        if start < stop:
            yield stream[start:stop]


A = TypeVar("A")
"""Type of a deferred action."""


@dataclass
class EventTimeBuffer(Generic[A]):
    """Buffer of one partition; the fields are explained at the head of the module.

    Args:
        frontier: offset from which the partition is read.
        done: offsets at or after it that are handled.
        allowed_lateness: seconds of event time for which an event waits for earlier ones.
    """

    frontier: int
    done: set[int]
    allowed_lateness: float
    held: dict[int, Arrival] = field(default_factory=dict)
    deferred: dict[int, A] = field(default_factory=dict)
    read: int = 0
    _stamps: deque[float] = field(default_factory=lambda: deque(maxlen=LOOKED_AT))
    _newest: list[float] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Offset that may be committed."""
        return min(self.held, default=self.frontier)

    def is_new(self, offset: int) -> bool:
        """True if a record was never read; from then on it is."""
        if offset < self.frontier:
            return False
        self.frontier = offset + 1
        return offset not in self.done

    def add(self, arrival: Arrival) -> bool:
        """Hold an event; return True if it is late: older than the allowed lateness."""
        self.held[arrival.offset] = arrival
        late = arrival.event.timestamp + self.allowed_lateness < self.event_time
        self.note(arrival.event.timestamp)
        return late

    def note(self, timestamp: float) -> None:
        """Note the time of an event, here or of another partition: events that are held wait for later ones."""
        self.read += 1
        self._advance(timestamp)

    def due(self, silent: bool) -> list[Arrival]:
        """Events whose time has come; all of them if the partition is silent."""
        if silent or not self.allowed_lateness:
            return list(self.held.values())
        until, waited = self.event_time - self.allowed_lateness, self.read - MOST_WAITED
        return [a for a in self.held.values() if a.event.timestamp <= until or a.number < waited]

    def handle(self, arrival: Arrival) -> None:
        """Mark an event as handled."""
        del self.held[arrival.offset]
        self.done.add(arrival.offset)

    def passed(self) -> list[A]:
        """Remove and return the deferred actions before the position, in order."""
        position = self.position
        return [self.deferred.pop(offset) for offset in sorted(self.deferred) if offset < position]

    def commit(self) -> int:
        """Discard bookkeeping of offsets before the position, and return the position."""
        position = self.position
        self.done = {offset for offset in self.done if offset >= position}
        return position

    @property
    def event_time(self) -> float:
        """Event time of the partition, seconds."""
        return self._newest[-1] if len(self._newest) == CORROBORATED else 0.0

    def _advance(self, stamp: float) -> None:
        leaves = self._stamps[0] if len(self._stamps) == LOOKED_AT else None
        self._stamps.append(stamp)
        # In an ordered stream the timestamp that leaves is never among the newest, and nothing is searched.
        others = self._stamps if leaves is not None and leaves >= self.event_time else (*self._newest, stamp)
        self._newest = nlargest(CORROBORATED, others)
