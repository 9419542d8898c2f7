"""Lines that `raie erase --unlearn` shows: what it costs, what came of it, and what stays until when."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from consumers.erasure.unlearning import Cost, events_a_second, replacements, residues
from pipeline.config import Config
from pipeline.events.edit import Edit, Outcome
from pipeline.streams.interface import Log

LONGEST = 100 * 365.25 * 86_400.0
"""Seconds: a date later than that is not shown."""


def cost_line(user: str, cost: Cost) -> str:
    """Cost of unlearning a user, before it begins."""
    if not cost.versions and not cost.lost and not cost.judged:
        return f"unlearning {user}: no version rests on one of {cost.windows:,} windows, and none is trained anew"
    seconds = "" if cost.seconds is None else f"; these edits took {cost.seconds:,.1f} s in their time"
    lost = f"; {cost.lost} give way, as their windows are gone from `gated`" if cost.lost else ""
    return (
        f"unlearning {user}: {cost.windows:,} windows; {cost.versions} versions are trained anew on at most "
        f"{cost.trained:,} windows{lost}; {cost.judged} more edits are judged again{seconds}"
    )


def result_lines(log: Log, found: Iterable[tuple[Edit, Outcome]]) -> Iterator[str]:
    """Results of the edits that have answered the requests of one user in a generation."""
    for edit, outcome in found:
        verdict = "unlearned by edit" if outcome.published else "NOT unlearned by edit"
        yield f"{verdict} {edit.edit_id}: {outcome.detail}"
        for old, new in replacements(log, edit.edit_id).items():
            yield f"  {old} destroyed; {f'{new} stands for it' if new else 'the version before it answers'}"


def residue_lines(log: Log, config: Config, now: float) -> Iterator[str]:
    """Places that are not refitted, and when the user's part in each goes; `now` in seconds since 1970."""
    rate = events_a_second(log)
    yield "learned from the user and not refitted:"
    for one in residues(config):
        date = ""
        if one.events is not None and rate is not None and one.events / rate < LONGEST:
            date = f", {datetime.fromtimestamp(now + one.events / rate, UTC).isoformat(' ', 'minutes')} at this rate"
        yield f"  {one.place:43s} {one.goes}{date}"
