"""Batches of the gate in lockstep: those of a replay, each after the barrier."""

from collections.abc import Sequence

from consumers.gate.event_time_buffer import Arrival
from consumers.runtime.lockstep import Barrier
from pipeline.streams.interface import Log


class LockstepBatches:
    """Numbered events, in the batches of a replay.

    Args:
        size: most events of a batch that are scored.

    Attributes:
        next: number of the next event to score.
    """

    def __init__(self, size: int) -> None:
        self.next = 0
        self._size = size
        self._barrier = Barrier()

    def is_open(self, log: Log) -> bool:
        """True if everything that was scored is settled."""
        return self._barrier.is_open(log)

    def advance(self, sequence: int) -> None:
        """Note that an event was scored."""
        self.next = max(self.next, sequence + 1)

    def repeated(self, held: Sequence[Arrival]) -> list[Arrival]:
        """Events whose number was scored before."""
        return [a for a in held if 0 <= a.sequence < self.next]

    def whole(self, held: Sequence[Arrival]) -> list[Arrival]:
        """The next batch, in order; empty while one of its events is missing."""
        numbered = {a.sequence: a for a in held}
        batch: list[Arrival] = []
        scored = 0
        while scored < self._size:
            arrival = numbered.get(self.next + len(batch))
            if arrival is None:
                return []
            batch.append(arrival)
            scored += arrival.is_scored
            if arrival.cut:
                break
        return batch
