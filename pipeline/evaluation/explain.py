"""What led to an edit, and what came of it, in sentences: from the lines of a ledger."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import DataError

Line = Mapping[str, Any]

SHORT = 8
"""Letters of an edit's id that a list shows."""


def listed(ledger: Sequence[Line]) -> str:
    """One line an edit."""
    return "\n".join(
        f"{line['edit_id'][:SHORT]}  event {line['at_event']:>8,}  {line['operation']:<7} "
        f"region {line['region_id']:<4} {line['status']:<10} {line['reason']['signal']}"
        for line in ledger
    )


def found(ledger: Sequence[Line], edit: str) -> Line:
    """The edit whose id begins so.

    Raises:
        DataError: none does, or several do.
    """
    hits = {line["edit_id"]: line for line in ledger if line["edit_id"].startswith(edit)}
    if len(hits) != 1:
        known = ", ".join(sorted(hits or {line["edit_id"] for line in ledger})[:10]) or "none at all"
        raise DataError(
            f"{'no edit' if not hits else f'{len(hits)} edits'} of this ledger begin with {edit!r}; there is: {known}"
        )
    return next(iter(hits.values()))


def explained(ledger: Sequence[Line], edit: str) -> str:
    """Everything the ledger says of one edit.

    Raises:
        DataError: no edit begins so, or several do.
    """
    line = found(ledger, edit)
    parts = (_what(line), _why(line), _evidence(line), _judgement(line), _cost(line), _beside(ledger, line))
    return "\n".join(text for part in parts for text in part)


def _what(line: Line) -> list[str]:
    other = "" if line["other_region_id"] is None else f" with region {line['other_region_id']}"
    when = datetime.fromtimestamp(line["timestamp"], UTC).isoformat(sep=" ", timespec="seconds")
    version = f" as {line['version']}" if line["version"] else ""
    return [
        f"{line['edit_id']}: {line['operation']} of region {line['region_id']}{other}",
        f"decided at event {line['at_event']:,} ({when}), {line['status']}{version}: {line['detail']}",
    ]


def _why(line: Line) -> list[str]:
    reason = line["reason"]
    said = [f"because {reason['text']}"]
    if reason["statistic"] is None:
        return [*said, f"signal: {reason['signal']}; no detector called for it"]
    return [
        *said,
        f"signal: {reason['signal']}, statistic {reason['statistic']:.3f}, threshold {reason['threshold']:.3f}",
    ]


def _evidence(line: Line) -> list[str]:
    windows = line["windows"]
    if not windows:
        return ["windows: none"]
    return [f"windows: {len(windows)}, from event {windows[0]} to {windows[-1]}"]


def _judgement(line: Line) -> list[str]:
    judged = line["validation"]
    if judged is None:
        return ["validation: nothing was judged"]
    numbers = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in sorted(judged.items()))
    return [f"validation on windows it was not trained on: {numbers}"]


def _cost(line: Line) -> list[str]:
    moved = line["moved_windows"]
    said = [f"cost: {line['cost']['windows']:,} windows trained on"]
    return said if moved is None else [*said, f"moved: {moved:.1%} of its windows to another region"]


def _beside(ledger: Sequence[Line], line: Line) -> list[str]:
    """Edits of the same moment, and those of the region before."""
    mine = {line["region_id"], line["other_region_id"], *line["reason"].get("regions", [])} - {None}
    same = [o for o in ledger if o["seed"] == line["seed"] and o["edit_id"] != line["edit_id"]]
    competing = [o for o in same if o["at_event"] == line["at_event"]]
    before = [o for o in same if o["at_event"] < line["at_event"] and o["region_id"] in mine][-3:]
    return [
        *(["decided at the same event:", listed(competing)] if competing else []),
        *(["edits of its regions before:", listed(before)] if before else []),
    ]
