"""An edit in sentences, as `raie explain` writes them."""

from collections.abc import Mapping
from typing import Any

from consumers.runtime.topic_reader import value_of
from consumers.server.views.users_items import Knowledge
from pipeline.errors import DataError
from pipeline.evaluation.explain import explained
from pipeline.evaluation.ledger import ledger_record
from pipeline.events.edit import Edit, Outcome
from pipeline.streams.interface import Log
from pipeline.streams.topics import EDITS


def explanation(edit_id: str, knowledge: Knowledge, log: Log) -> str:
    """Everything that the ledger says of one edit.

    Args:
        edit_id: of an edit that ended.
        knowledge: all edits, their evidence as counts.
        log: holds the evidence of this one.

    Raises:
        DataError: there is no such edit, or it has not ended.
        UnavailableError: the log is out of reach.
    """
    if edit_id not in knowledge.edits or edit_id not in knowledge.outcomes:
        raise DataError(f"no edit {edit_id} has ended")
    place = knowledge.edits[edit_id]
    (record,) = log.read(EDITS, place["partition"], place["offset"], place["offset"] + 1)
    lines = []
    for ended, outcome in list(knowledge.outcomes.items()):
        if ended in knowledge.edits:
            edit = Edit.from_record(value_of(record)) if ended == edit_id else _without_windows(knowledge.edits[ended])
            lines.append(ledger_record(0, edit, Outcome.from_record(outcome)))
    return explained(lines, edit_id)


def _without_windows(summary: Mapping[str, Any]) -> Edit:
    """An edit of which no more is said than that it was made."""
    fields = {name: value for name, value in summary.items() if name not in ("partition", "offset")}
    return Edit.from_record({**fields, "windows": [], "samples": []})
