"""Freshness: how long each step takes between an event and its effect, by the wall clocks of the writers.

    event ──arrived──► interactions ──gated──► gated ──decided──► edits ──trained, published──► regions ──served──►
                                                 └──────────────────────counted──────────────────────────────────►

Times are those of `Record.written_at`: they are no content of any record, so what a stage writes does not depend on
them. The clocks of two machines may differ; so may a step's time, by as much.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import LogError
from pipeline.events.edit import EVIDENCE, evidence_in
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import EDITS, GATED, REGIONS
from pipeline.telemetry import Step

ENDS: Mapping[str, Step] = {GATED: "gated", EDITS: "decided", REGIONS: "published"}
"""Topic -> step that ends with the commit of its record."""


def newest_window(edit: Mapping[str, Any]) -> int | None:
    """Return the offset in `gated` of the newest window of an edit, given its record; None without windows."""
    return max((evidence.offset for name in EVIDENCE for evidence in evidence_in(edit, name)), default=None)


def newest_gated(edit: Mapping[str, Any], log: Log) -> Record | None:
    """Return the record of `gated` with the newest window of an edit.

    Args:
        edit: record of the edit.
        log: has its windows.

    Returns:
        None for an edit without windows, and where the log cannot return the record.
    """
    newest = newest_window(edit)
    if newest is None:
        return None
    try:
        return next(log.read(GATED, 0, newest, newest + 1), None)
    except LogError:
        # A figure for people must stop no process.
        return None
