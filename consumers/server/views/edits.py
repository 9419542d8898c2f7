"""View of edits and outcomes, built from the log at every start."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import BadEvent
from pipeline.events.edit import EVIDENCE, Edit, Outcome, evidence_in
from pipeline.streams.interface import Record
from pipeline.streams.topics import EDITS, OUTCOMES

TOPICS = (EDITS, OUTCOMES)
"""Topics of this view."""


class Edits:
    """Edits and their outcomes.

    Attributes:
        edits: edit id -> its record, with counts in place of its windows and its `offset` and `partition` in the log.
        outcomes: edit id -> its outcome's record.
    """

    def __init__(self) -> None:
        self.edits: dict[str, dict[str, Any]] = {}
        self.outcomes: dict[str, Mapping[str, Any]] = {}

    def apply(self, record: Record) -> None:
        """Apply a record of one of `TOPICS`; raises one of `MALFORMED` if it cannot be read, without effect."""
        value: Any = record.value
        if value is None:
            return
        if record.topic == OUTCOMES:
            self.outcomes[Outcome.from_record(_known(Outcome, value)).edit_id] = value
        else:
            edit = Edit.from_record(_known(Edit, value))
            if not isinstance(edit.reason, Mapping) or not isinstance(edit.at_event, int):
                raise BadEvent("bad_edit", f"edit {edit.edit_id} has no reason, or no number of events")
            self.edits[edit.edit_id] = _summary(value) | {"partition": record.partition, "offset": record.offset}

    def of_region(self, region_id: int) -> list[str]:
        """Ids of the edits of a region, in order."""
        return [edit["edit_id"] for edit in list(self.edits.values()) if edit["region_id"] == region_id]

    def newest(self, region_id: int | None, limit: int) -> list[dict[str, Any]]:
        """The newest edits of a region, or of all, newest first."""
        chosen = [edit for edit in list(self.edits.values()) if region_id in (None, edit["region_id"])]
        return sorted(chosen, key=lambda edit: (edit["at_event"], edit["offset"]), reverse=True)[:limit]

    def published(self) -> int:
        """Number of edits that were published."""
        return sum(bool(outcome["published"]) for outcome in list(self.outcomes.values()))


def _known(kind: type[Edit | Outcome], value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record that this version has; later versions may write more."""
    return {name: value[name] for name in kind.__dataclass_fields__ if name in value}


def _summary(edit: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an edit, with number and offsets in `gated` in place of its windows."""
    summary = {name: value for name, value in edit.items() if name not in EVIDENCE}
    for name in EVIDENCE:
        offsets = [evidence.offset for evidence in evidence_in(edit, name)]
        summary[name] = {
            "count": len(offsets),
            "first_offset": min(offsets, default=None),
            "last_offset": max(offsets, default=None),
        }
    return summary
