"""Explanation of one edit in sentences, as `raie explain` gives it."""

from collections.abc import Mapping
from typing import Any

from consumers.runtime.topic_reader import value_of
from consumers.server.views.edits import Edits
from pipeline.errors import DataError
from pipeline.evaluation.explain import explained
from pipeline.evaluation.ledger import ledger_record
from pipeline.events.edit import Edit, Outcome
from pipeline.events.gated import with_event_ids
from pipeline.streams.interface import Log
from pipeline.streams.topics import EDITS


def explanation(edit_id: str, view: Edits, log: Log) -> str:
    """Explain one edit.

    Args:
        edit_id: of an edit that has ended.
        view: all edits, with counts in place of their windows.
        log: has the windows of this one.

    Raises:
        DataError: there is no such edit, or it has not ended.
        UnavailableError: the log is out of reach.
    """
    if edit_id not in view.edits or edit_id not in view.outcomes:
        raise DataError(f"no edit {edit_id} has ended")
    origin = view.edits[edit_id]
    (record,) = log.read(EDITS, origin["partition"], origin["offset"], origin["offset"] + 1)
    lines = []
    for ended, outcome in list(view.outcomes.items()):
        if ended in view.edits:
            is_asked = ended == edit_id
            edit = (
                with_event_ids(Edit.from_record(value_of(record)), log)
                if is_asked
                else _without_windows(view.edits[ended])
            )
            lines.append(ledger_record(0, edit, Outcome.from_record(outcome)))
    return explained(lines, edit_id)


def _without_windows(summary: Mapping[str, Any]) -> Edit:
    """An edit with no windows."""
    fields = {name: value for name, value in summary.items() if name not in ("partition", "offset")}
    return Edit.from_record({**fields, "windows": [], "samples": []})
