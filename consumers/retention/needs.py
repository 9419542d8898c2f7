"""Records of `gated` that something still reads, and adapter versions that an edit still needs.

A stage that starts again reads `gated` from its newest snapshot on, and the monitor's state refers to windows by
offset: the next edit may rest on any of them. An edit without an outcome needs its windows, and an Unlearn those of all
edits before it. One that was published can be carried out again as long as its windows are there; it needs the versions
that were in force when it was applied.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consumers.gate.changelog import chunk_of
from consumers.monitor.changelog import MonitorSnapshot
from consumers.runtime.adapters_in_force import AdaptersInForce
from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.events.edit import Edit, Operation
from pipeline.monitor.snapshot import window_offsets
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import EDITS, GATED, OUTCOMES, TREND


@dataclass(frozen=True)
class Need:
    """Something that reads `gated`.

    Attributes:
        offset: the first that it needs.
        by: its name, for people.
    """

    offset: int
    by: str


@dataclass(frozen=True)
class Edits:
    """Edits of the log.

    Attributes:
        pending: those without an outcome.
        ended: those with one.
        waiting_since: wall clock of the oldest pending one in seconds since 1970, 0 where the log does not have it;
            infinite without any.
    """

    pending: Sequence[Edit]
    ended: Sequence[Edit]
    waiting_since: float


def read_edits(log: Log) -> Edits:
    """Read all edits, and which of them have ended; records of other programs are passed over."""
    # Outcomes before edits: an edit that ends meanwhile counts as pending.
    outcomes = {record.key for record in new_records(log, OUTCOMES, 0)}
    pending, ended, since = list[Edit](), list[Edit](), math.inf
    for partition in range(log.topic(EDITS).partitions):
        for record in log.read(EDITS, partition, 0, log.end_offset(EDITS, partition)):
            for edit in readable([record], _edit_of, unreported):
                if edit.edit_id in outcomes:
                    ended.append(edit)
                else:
                    pending.append(edit)
                    since = min(since, record.written_at or 0.0)
    return Edits(pending, ended, since)


def first_needed(log: Log, kept: MonitorSnapshot, edits: Edits) -> Need:
    """Find the first offset of `gated` that is still needed, and by what.

    Args:
        log: of the pipeline.
        kept: the monitor's newest state, read before the edits: a window that it needs no more is of an edit that is
            seen then, if of any.
        edits: all of them.
    """
    needs = [Need(log.committed("monitor", GATED, 0), "the monitor, which has not read it"), *_of_gates(log)]
    needs.append(Need(kept.at.gated, "the monitor's newest snapshot"))
    if kept.state is not None:
        offsets = window_offsets(kept.state["monitor"])
        needs += [Need(offset, "a window that the monitor may base an edit on") for offset in offsets]
    needs += [Need(o, f"edit {edit.edit_id}, which has no outcome") for edit in edits.pending for o in _windows(edit)]
    if any(edit.operation is Operation.UNLEARN for edit in edits.pending):
        needs += [Need(o, "an Unlearn, which carries edits out again") for edit in edits.ended for o in _windows(edit)]
    return min(needs, key=lambda need: need.offset)


def versions_needed(use: AdaptersInForce, edits: Edits, first_gated: int) -> set[str]:
    """Find the versions that a published edit needs, which can be carried out again.

    Args:
        use: versions in force at each revision.
        edits: all edits.
        first_gated: first offset of `gated` that is kept.
    """
    needed: set[str] = set()
    for edit in edits.ended:
        base, named = use.published.get(edit.edit_id, (0, frozenset()))
        if named and min(_windows(edit), default=-1) >= first_gated:
            needed |= named | use.at(base)
    return needed


def _edit_of(record: Record) -> Edit:
    return Edit.from_record(value_of(record))


def _windows(edit: Edit) -> Iterator[int]:
    return (evidence.offset for evidence in (*edit.windows, *edit.samples))


def _of_gates(log: Log) -> Iterator[Need]:
    """The newest snapshot of each gate, also of one that does not run any more: it may start again."""
    newest: dict[str, int] = {}
    for chunk in readable(new_records(log, TREND, 0), chunk_of, unreported):
        newest[chunk["gate"]] = chunk["gated"]
    yield from (Need(offset, f"the newest snapshot of gate {gate}") for gate, offset in newest.items())
