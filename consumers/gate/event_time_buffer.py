"""Events of one partition on their way from the log to the gate: which wait for their time, which are due.

    frontier    next offset never looked at
    held        looked at, waiting
    done        handled although an earlier one is held
    behind      acts (a refusal, an erasure) that take effect once the position has passed them: then they are
                done in the same transaction that commits it, so never twice
    position    what may be committed: the first held, else the frontier

Live, an event is due once the partition has gone on by the horizon, in event time; in lockstep, once its number
is next. How far a partition has gone is not said by one stamp: it is what at least `CORROBORATED` of the newest
stamps have reached, so that a single clock ahead by years moves nothing.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Generic, TypeVar

from pipeline.events.interaction import Interaction

CORROBORATED = 3
"""Stamps that must have reached a moment before it counts as reached."""

LOOKED_AT = 64
"""Newest stamps of a partition that are looked at for that."""

MOST_WAITED = 4096
"""Events of the partition for which one of them waits at most: a stamp of 2099 must not hold up its partition."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event that was read and found good.

    Attributes:
        partition, offset: where in `interactions`.
        event: what it says.
        row: catalogue row of its item.
        past: whether set-up has learned from it: it makes history, and is not gated.
        sequence: its number in lockstep, else -1.
        cut: whether a batch ends with it, in lockstep.
        number: how many events of the partition were read before it since the start.
    """

    partition: int
    offset: int
    event: Interaction
    row: int
    past: bool
    sequence: int
    cut: bool
    number: int = 0


def in_time(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Arrivals by event time; by event id within one moment, as a replay has them."""
    return sorted(arrivals, key=lambda a: (a.event.timestamp, a.event.event_id))


A = TypeVar("A")
"""What takes effect once the position has passed it."""


@dataclass
class EventTimeBuffer(Generic[A]):
    """See the head of the module.

    Args:
        frontier: where the partition is read from.
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
        """What may be committed."""
        return min(self.held, default=self.frontier)

    def is_new(self, offset: int) -> bool:
        """Whether a record was never looked at; it is from now on."""
        if offset < self.frontier:
            return False
        self.frontier = offset + 1
        return offset not in self.done

    def add(self, arrival: Arrival) -> bool:
        """Let an event wait; say whether it is late: older than the horizon allows."""
        self.held[arrival.offset] = arrival
        self.read += 1
        late = arrival.event.timestamp + self.allowed_lateness < self._reached
        self._look_at(arrival.event.timestamp)
        return late

    @property
    def _reached(self) -> float:
        """How far the partition has gone, in event time."""
        return self._newest[-1] if len(self._newest) == CORROBORATED else 0.0

    def _look_at(self, stamp: float) -> None:
        leaves = self._stamps[0] if len(self._stamps) == LOOKED_AT else None
        self._stamps.append(stamp)
        # In a stream that is in order the one that leaves is never among the newest, and nothing is searched.
        others = self._stamps if leaves is not None and leaves >= self._reached else (*self._newest, stamp)
        self._newest = nlargest(CORROBORATED, others)

    def due(self, silent: bool) -> list[Arrival]:
        """Events whose time has come: all of them where nothing more comes for now."""
        if silent or not self.allowed_lateness:
            return list(self.held.values())
        until, waited = self._reached - self.allowed_lateness, self.read - MOST_WAITED
        return [a for a in self.held.values() if a.event.timestamp <= until or a.number < waited]

    def handle(self, arrival: Arrival) -> None:
        """Note that an event is handled."""
        del self.held[arrival.offset]
        self.done.add(arrival.offset)

    def passed(self) -> list[A]:
        """Acts that the position has passed, in order; each is returned once."""
        position = self.position
        return [self.deferred.pop(offset) for offset in sorted(self.deferred) if offset < position]

    def commit(self) -> int:
        """Forget what lies before the position, and return it."""
        position = self.position
        self.done = {offset for offset in self.done if offset >= position}
        return position
