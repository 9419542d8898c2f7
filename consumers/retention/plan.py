"""Plan of one round of retention: versions out of force and old records, less what is needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters_store import AdaptersStore
from adapters_store.manifest import parse_version_name
from consumers.monitor.changelog import MonitorSnapshot, read_newest
from consumers.retention.needs import Edits, Need, first_needed, read_edits, versions_needed
from consumers.runtime.adapters_in_force import AdaptersInForce, read_adapters_in_force
from consumers.runtime.generations import log_in, read_generations
from pipeline.config import RetentionSettings
from pipeline.events.generation import State
from pipeline.streams.interface import Log
from pipeline.streams.topics import DEAD_LETTERS, GATED, INTERACTIONS

DAY = 86_400.0
"""Seconds of a day."""


@dataclass(frozen=True)
class Cut:
    """Records of one partition that are beyond a limit.

    Attributes:
        topic: the topic.
        partition: its partition.
        first: first offset kept now.
        until: first offset to be kept.
        beyond: first offset within the limits; those from `until` on are held.
        held_by: need that holds them.
    """

    topic: str
    partition: int
    first: int
    until: int
    beyond: int
    held_by: str

    @property
    def count(self) -> int:
        """Number of offsets that go."""
        return max(0, self.until - self.first)

    def __str__(self) -> str:
        return f"offsets {self.first}..{self.until - 1} of {self.topic}/{self.partition}"

    @property
    def held(self) -> int:
        """Number of offsets that something needs."""
        return max(0, self.beyond - max(self.first, self.until))


@dataclass(frozen=True)
class Plan:
    """One round of retention.

    Attributes:
        versions: adapter versions that may go.
        held: versions that are old enough, and needed by an edit.
        cuts: records, by partition.
    """

    versions: Sequence[str]
    held: Sequence[str]
    cuts: Sequence[Cut]

    def held_by_kind(self) -> Iterator[tuple[str, tuple[int, str]]]:
        """Yield what stays beyond its limits: versions and topics, each with its number and the reason."""
        yield "versions", (len(self.held), "an edit needs them that is under way or can be carried out again")
        for topic in dict.fromkeys(cut.topic for cut in self.cuts):
            held = [cut for cut in self.cuts if cut.topic == topic and cut.held]
            reasons = dict.fromkeys(f"{topic}/{cut.partition} from {cut.until} on: {cut.held_by}" for cut in held)
            yield topic, (sum(cut.held for cut in held), "; ".join(reasons))


def make_plan(log: Log, store: AdaptersStore, limits: RetentionSettings, now: float) -> Plan:
    """Decide what goes.

    Args:
        log: of the pipeline.
        store: its adapter versions.
        limits: ages and sizes.
        now: seconds since 1970.

    Raises:
        LogError, StoreError: log or store cannot be read.
    """
    kept, edits = read_newest(log), read_edits(log)
    cuts = list(_cuts(log, limits, kept, edits, now))
    first_gated = max([log.start_offset(GATED, 0), *(cut.until for cut in cuts if cut.topic == GATED)])
    use = read_adapters_in_force(log)
    old = _old_versions(use, store, limits, now)
    # Of an edit that is being carried out, the trainer may still read what was in force when it began.
    needed = versions_needed(use, edits, first_gated) | {n for n in old if use.left[n] >= edits.waiting_since}
    return Plan([name for name in old if name not in needed], [n for n in old if n in needed], cuts)


def _old_versions(use: AdaptersInForce, store: AdaptersStore, limits: RetentionSettings, now: float) -> Sequence[str]:
    """Versions out of force beyond both limits, by name."""
    if limits.version_days is None:
        return ()
    old = []
    by_region: dict[int, list[str]] = {}
    for name in store.names():
        if name in use.left:
            by_region.setdefault(parse_version_name(name)[0], []).append(name)
    for names in by_region.values():
        beyond = names[: len(names) - limits.versions] if limits.versions else names
        old += [name for name in beyond if use.left[name] <= now - DAY * limits.version_days]
    return old


def _cuts(log: Log, limits: RetentionSettings, kept: MonitorSnapshot, edits: Edits, now: float) -> Iterator[Cut]:
    """Records beyond the limits, by partition; nothing for a topic without limits."""
    if limits.gated_days is not None or limits.gated_records is not None:
        need = first_needed(log, kept, edits)
        yield _cut(log, GATED, 0, limits.gated_days, limits.gated_records, need, now)
    if limits.interaction_days is not None:
        for partition in range(log.topic(INTERACTIONS).partitions):
            # Also of a generation that stands by: a rollback lets its gate read on.
            need = _of_generations(log, partition)
            yield _cut(log, INTERACTIONS, partition, limits.interaction_days, None, need, now)
    if limits.dead_letter_days is not None or limits.dead_letter_records is not None:
        need = Need(log.end_offset(DEAD_LETTERS, 0), "")
        yield _cut(log, DEAD_LETTERS, 0, limits.dead_letter_days, limits.dead_letter_records, need, now)


def _of_generations(log: Log, partition: int) -> Need:
    """First offset of `interactions` that a generation needs, and by what."""
    kept, needs = read_generations(log).kept, []
    for one in kept:
        if one.is_forked:
            which = "the gate" if len(kept) == 1 else f"the gate of generation {one.number}"
            offset = log_in(log, one.number).committed("gate", INTERACTIONS, partition)
            needs.append(Need(offset, f"{which}, which has not read it"))
        if one.state is State.PREPARING:
            first = one.starts[partition] if one.is_forked else log.start_offset(INTERACTIONS, partition)
            needs.append(Need(first, f"the refresh that prepares generation {one.number}, which learns from it"))
    return min(needs, key=lambda need: need.offset)


def _cut(log: Log, topic: str, partition: int, days: float | None, records: int | None, need: Need, now: float) -> Cut:
    first, end = log.start_offset(topic, partition), log.end_offset(topic, partition)
    beyond = first if records is None else max(first, end - records)
    if days is not None:
        beyond = max(beyond, _older_until(log, topic, partition, first, end, now - DAY * days))
    return Cut(topic, partition, first, max(first, min(beyond, need.offset)), beyond, need.by)


def _older_until(log: Log, topic: str, partition: int, first: int, end: int, since: float) -> int:
    """First offset from which on no record was written before a time; one without a time is as old as the next."""
    until = first
    for record in log.read(topic, partition, first, end):
        if record.written_at is not None:
            if record.written_at > since:
                break
            until = record.offset + 1
    return until
