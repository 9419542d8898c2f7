"""Explanations of edits in sentences: reason, evidence and outcome, from the lines of a ledger."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import DataError
from pipeline.events.edit import Operation

Line = Mapping[str, Any]

SHORT = 8
"""Characters of an edit id shown in a list."""


def listed(ledger: Sequence[Line]) -> str:
    """List of edits, one per line."""
    return "\n".join(
        f"{line['edit_id'][:SHORT]}  event {line['at_event']:>8,}  {line['operation']:<7} "
        f"{_concerned(line):<11} {line['status']:<10} {line['reason']['signal']}"
        for line in ledger
    )


def find_edit(ledger: Sequence[Line], edit: str) -> Line:
    """Edit whose id has the given prefix.

    Raises:
        DataError: no id or several ids have it.
    """
    hits = {line["edit_id"]: line for line in ledger if line["edit_id"].startswith(edit)}
    if len(hits) != 1:
        known = ", ".join(sorted(hits or {line["edit_id"] for line in ledger})[:10]) or "none"
        raise DataError(
            f"{'no edit' if not hits else f'{len(hits)} edits'} of this ledger have an id that begins with {edit!r}; "
            f"known: {known}"
        )
    return next(iter(hits.values()))


def explained(ledger: Sequence[Line], edit: str) -> str:
    """Full explanation of one edit.

    Raises:
        DataError: no id or several ids have the given prefix.
    """
    line = find_edit(ledger, edit)
    sections = (_decision(line), _reason(line), _windows(line), _validation(line), _cost(line), _related(ledger, line))
    return "\n".join(text for section in sections for text in section)


def _decision(line: Line) -> list[str]:
    other = "" if line["other_region_id"] is None else f" with region {line['other_region_id']}"
    when = datetime.fromtimestamp(line["timestamp"], UTC).isoformat(sep=" ", timespec="seconds")
    version = f" as {line['version']}" if line["version"] else ""
    return [
        f"{line['edit_id']}: {line['operation']} of {_concerned(line)}{other}",
        f"decided at event {line['at_event']:,} ({when}), {line['status']}{version}: {line['detail']}",
    ]


def _concerned(line: Line) -> str:
    return "new items" if line["operation"] == Operation.INJECT else f"region {line['region_id']}"


def _reason(line: Line) -> list[str]:
    reason = line["reason"]
    sentences = [f"because {reason['text']}"]
    if reason["statistic"] is None:
        return [*sentences, f"signal: {reason['signal']}; no detector alarm"]
    return [
        *sentences,
        f"signal: {reason['signal']}, statistic {reason['statistic']:.3f}, threshold {reason['threshold']:.3f}",
    ]


def _windows(line: Line) -> list[str]:
    windows = line["windows"]
    if not windows:
        return ["windows: none"]
    return [f"windows: {len(windows)}, from event {windows[0]} to {windows[-1]}"]


def _validation(line: Line) -> list[str]:
    result = line["validation"]
    if result is None:
        return ["validation: none"]
    numbers = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in sorted(result.items()))
    return [f"validation on held-out windows: {numbers}"]


def _cost(line: Line) -> list[str]:
    moved = line["moved_windows"]
    sentences = [f"cost: {line['cost']['windows']:,} windows trained on"]
    return sentences if moved is None else [*sentences, f"moved: {moved:.1%} of its windows to another region"]


def _related(ledger: Sequence[Line], line: Line) -> list[str]:
    """Edits at the same event, and earlier edits of the same regions."""
    regions = {line["region_id"], line["other_region_id"], *line["reason"].get("regions", [])} - {None}
    same = [o for o in ledger if o["seed"] == line["seed"] and o["edit_id"] != line["edit_id"]]
    competing = [o for o in same if o["at_event"] == line["at_event"]]
    before = [o for o in same if o["at_event"] < line["at_event"] and o["region_id"] in regions][-3:]
    return [
        *(["decided at the same event:", listed(competing)] if competing else []),
        *(["earlier edits of its regions:", listed(before)] if before else []),
    ]
