"""Unlearning of a user as a command sees it: what it will cost, whether it has been done, and what stays until when."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumers.erasure.request import home_of
from consumers.runtime.ledger import Ledger
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.topic_reader import new_records
from pipeline.config import Config
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.unlearning import is_event, touches, windows_before
from pipeline.events.user_state import names_in
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Log
from pipeline.streams.topics import EDITS, GATED, OUTCOMES, USERS

VANISHING = 20.0
"""Half-lives after which a count weighs less than a millionth."""

RATE_EVENTS = 1_000
"""Newest events that the rate of the stream is measured on."""


@dataclass(frozen=True)
class Cost:
    """Cost of an unlearning.

    Attributes:
        windows: of the user in `gated`.
        versions: that are trained anew.
        trained: windows that these were trained on, counting each pass.
        judged: other edits that are carried out again, and trained only if their training depends on something new.
        lost: edits whose windows are gone from `gated` and may have been the user's: their versions give way.
        seconds: that the edits took in their time, None where the log does not know it.
    """

    windows: int
    versions: int
    trained: int
    judged: int
    lost: int
    seconds: float | None


def names_of(log: Log, user_id: str) -> list[str]:
    """Names under which `gated` has windows of a user; none once the user is erased, as the keys are gone."""
    home = home_of(log, user_id)
    start, end = log.start_offset(USERS, home), log.acknowledged_end(USERS, home)
    value = None
    for record in log.read(USERS, home, start, max(start, end)):
        value = record.value if record.key == user_id else value
    return [] if value is None else names_in(value, user_id)


def cost_of(log: Log, names: Collection[str]) -> Cost:
    """Look through the ledger for what unlearning a user will cost.

    Args:
        log: has the ledger.
        names: of the user in `gated`.
    """
    forgotten = windows_before(log, dict.fromkeys(names, log.acknowledged_end(GATED, 0)))
    kept_from = log.start_offset(GATED, 0)
    ended = dict(_published(log))
    lineage = _Lineage()
    again: list[str] = []
    for _, revision in RevisionFollower(None, None, unreported).poll(log):
        edit = ended.get(revision.edit_id or "", (None, None))[0]
        is_touched = touches(edit, forgotten, kept_from)
        lineage.follow(revision, is_touched)
        if edit is not None and (again or is_touched):
            again.append(edit.edit_id)
    trained = [edit_id for edit_id in again if edit_id in lineage.anew]
    lost = [i for i in again if any(e.offset < kept_from for e in ended[i][0].windows) and i in lineage.anew]
    return Cost(
        len(forgotten.offsets),
        len(trained) - len(lost),
        sum(ended[edit_id][1].trained_windows for edit_id in trained if edit_id not in lost),
        len(again) - len(trained),
        len(lost),
        _seconds(log, again),
    )


@dataclass
class _Lineage:
    """Versions that rest on windows of a user, or come from such a version.

    Attributes:
        anew: edits whose versions do.
    """

    anew: set[str] = field(default_factory=set)
    _adapters: dict[int, str | None] = field(default_factory=dict)
    _tainted: set[str | None] = field(default_factory=set)
    _injected: bool = False

    def follow(self, revision: Revision, is_touched: bool) -> None:
        """Follow a revision, whose edit rests on windows of the user or not."""
        for old, by in revision.unlearned.replaced.items() if revision.unlearned is not None else ():
            if by is not None and old in self._tainted:
                self._tainted.add(by.adapter)
        if revision.injection is not None and revision.unlearned is None:
            self._injected |= is_touched
            self._note(revision, is_tainted=self._injected)
        for region in revision.regions:
            before = self._adapters.get(region.region_id)
            parent = before or self._adapters.get(region.parent or 0)
            if revision.edit_id is not None and revision.unlearned is None and region.adapter != before:
                is_tainted = is_touched or parent in self._tainted
                self._tainted |= {region.adapter} if is_tainted else set()
                self._note(revision, is_tainted)
            self._adapters[region.region_id] = region.adapter

    def _note(self, revision: Revision, is_tainted: bool) -> None:
        if is_tainted and revision.edit_id is not None:
            self.anew.add(revision.edit_id)


def _published(log: Log) -> Iterator[tuple[str, tuple[Edit, Outcome]]]:
    for edit, outcome in Ledger(log, log.topic(EDITS).partitions).poll():
        if outcome.published and edit.operation is not Operation.UNLEARN:
            yield edit.edit_id, (edit, outcome)


def _seconds(log: Log, edit_ids: Sequence[str]) -> float | None:
    """Seconds from the record of each edit to that of its outcome, together."""
    begun: dict[str, float] = {}
    for partition in range(log.topic(EDITS).partitions):
        for record in log.read(EDITS, partition, log.start_offset(EDITS, partition), log.end_offset(EDITS, partition)):
            begun[str((record.value or {}).get("edit_id"))] = record.written_at or 0.0
    ended = {record.key: record.written_at or 0.0 for record in new_records(log, OUTCOMES, 0)}
    found = [ended[i] - begun[i] for i in edit_ids if begun.get(i) and ended.get(i)]
    return sum(found) if found else None


class Answers:
    """Requests, by offset in `gated`, with the edits that have answered them."""

    def __init__(self, log: Log) -> None:
        self._ledger = Ledger(log, log.topic(EDITS).partitions)
        self._found: dict[int, tuple[Edit, Outcome]] = {}

    def __call__(self) -> Mapping[int, tuple[Edit, Outcome]]:
        """Return all so far; reads what came since the last call."""
        for edit, outcome in self._ledger.poll():
            if edit.operation is Operation.UNLEARN:
                self._found.update((offset, (edit, outcome)) for offset in edit.reason["requests"])
        return self._found


def replacements(log: Log, edit_id: str) -> dict[str, str | None]:
    """Versions that an Unlearn has destroyed, and what stands for each, None where it gave way."""
    for _, revision in RevisionFollower(None, None, unreported).poll(log):
        if revision.edit_id == edit_id and revision.unlearned is not None:
            return {old: by.adapter if by else None for old, by in revision.unlearned.replaced.items()}
    return {}


@dataclass(frozen=True)
class Residue:
    """Something that has learned from a user and is not refitted.

    Attributes:
        place: what it is.
        goes: the way in which the user's part goes.
        events: events of the stream after which it is gone, None where it is no matter of events.
    """

    place: str
    goes: str
    events: int | None = None


def residues(config: Config) -> Iterable[Residue]:
    """List what stays after an unlearning, by the settings of gate and server."""
    trend, ranking = config.trend, config.ranking
    fading = round(VANISHING * max(trend.half_lives, default=0.0))
    prior = round(VANISHING * trend.era_half_life)
    if trend.half_lives:
        yield Residue("gate: decayed popularity", f"weighs less than a millionth after {fading:,} events", fading)
        longest = max(ranking.events, trend.followed_events)
        yield Residue("gate: item transitions and neighbours", f"counted for {longest:,} events", longest)
        yield Residue("gate: origin prior", f"weighs less than a millionth after {prior:,} events", prior)
        yield Residue("gate: weights of the second stage", "with a new set-up, or a gate of a new --instance")
        yield Residue("gate: times an item was taken", "with a new set-up")
    yield Residue("monitor: detectors, shares of regions", "name no user; with a new set-up")
    yield Residue("set-up: backbone, its regions, calibration", "with a new set-up, if its data lacks the user")


def events_a_second(log: Log) -> float | None:
    """Rate of the newest events by the time at which they were gated, None without two of them."""
    end = log.end_offset(GATED, 0)
    start = max(log.start_offset(GATED, 0), end - RATE_EVENTS)
    times = [r.written_at for r in log.read(GATED, 0, start, max(start, end)) if is_event(r) and r.written_at]
    span = times[-1] - times[0] if times else 0.0
    return (len(times) - 1) / span if span > 0 else None
