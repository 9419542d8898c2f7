"""Lockstep mode: stages that wait for each other, so that they end with the ledger of a replay.

One gate writes a batch of `gate.batch_size` events, cut as a replay cuts them, in one transaction, and then waits at
a barrier. The monitor observes the batch and requests its edits one at a time, each after the outcome of the one
before. When no edit is left, it writes to `control` the offset of `gated` up to which everything is settled. Revisions
of these edits are in `regions` by then: the gate reads them before its next batch.

No process holds any of this state: after a restart it is read from the log.
"""

from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import new_records
from pipeline.streams.interface import Log
from pipeline.streams.topics import CONTROL, GATED

SETTLED = "settled"
"""Kind, and key, of the record that opens the barrier."""


def settled(gated: int, timestamp: float) -> Output:
    """Record saying that every edit due to records of `gated` before this offset has ended."""
    return Output(CONTROL, {"kind": SETTLED, "gated": gated}, SETTLED, timestamp)


def nothing_gated_since(log: Log, offset: int) -> bool:
    """True if `gated` has no record at or after an offset; its end may be later, because of transaction markers.

    What retention deleted is no record: every stage has passed it.
    """
    return not new_records(log, GATED, max(offset, log.start_offset(GATED, 0)))


class Barrier:
    """Barrier at which the gate waits between batches."""

    def __init__(self) -> None:
        self._position = 0
        self._settled = 0

    def is_open(self, log: Log) -> bool:
        """True if everything in `gated` is settled."""
        for record in new_records(log, CONTROL, self._position):
            self._position = record.offset + 1
            settled_until = (record.value or {}).get("gated")
            if record.key == SETTLED and isinstance(settled_until, int):
                self._settled = settled_until
        return nothing_gated_since(log, self._settled)
