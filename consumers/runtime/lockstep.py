"""Lockstep: stages that wait for each other, so that the consumers end with the ledger of a replay.

One gate writes a batch of `gate.batch_size` events, cut as a replay cuts them, in one transaction, and then waits at
this barrier. The monitor observes the batch and asks for its edits one at a time, each after the outcome of the
one before. When it has nothing more to ask for, it says in `control` up to where `gated` is settled. Revisions that
the edits made are in `regions` by then: the gate reads them before it goes on.

Nothing of this is kept in a process: who restarts finds in the log where all of them stand.
"""

from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.streams.interface import Log
from pipeline.streams.topics import CONTROL, GATED

SETTLED = "settled"
"""Kind, and key, of the record that opens the barrier."""


def settled(gated: int, timestamp: float) -> Output:
    """Say that all that follows from `gated` before this offset is decided, carried out and in force."""
    return Output(CONTROL, {"kind": SETTLED, "gated": gated}, SETTLED, timestamp)


def nothing_gated_since(log: Log, offset: int) -> bool:
    """Whether `gated` has no record at or after an offset; its end may lie further, past transaction markers."""
    return not new_records(log, GATED, offset)


class Barrier:
    """What the gate waits at between batches."""

    def __init__(self) -> None:
        self._position = 0
        self._settled = 0

    def is_open(self, log: Log) -> bool:
        """Whether everything gated so far is settled."""
        for record in new_records(log, CONTROL, self._position):
            self._position = record.offset + 1
            if record.key == SETTLED:
                self._settled = value_of(record)["gated"]
        return nothing_gated_since(log, self._settled)
