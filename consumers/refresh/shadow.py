"""Comparison of the generation in the shadow with the one that answers, by what both have gated."""

from collections.abc import Iterator, Mapping
from typing import Any

from consumers.runtime.generations import log_in
from consumers.runtime.malformed import readable, unreported
from pipeline.config import RefreshSettings
from pipeline.events.generation import Generation, Generations
from pipeline.events.unlearning import is_event
from pipeline.setup.judgement import Judgement, judge
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import GATED, INTERACTIONS

Event = tuple[str, str, float]
"""Id, item and time of an event: pseudonyms of new users differ between generations."""


def judgement(log: Log, generations: Generations, new: Generation, settings: RefreshSettings) -> Judgement:
    """Compare a generation with the one that answers, on all events that both have gated.

    The gate of the new one began where its set-up ends, so neither set-up knows any of them.
    """
    active = generations.active.number
    since = new.gated if new.beside == active else 0
    ranks = {event: rank for event, _, rank in _gated(log, new.number, 0)}
    paired = [(user, rank, ranks[event]) for event, user, rank in _gated(log, active, since) if event in ranks]
    users, before, after = zip(*paired, strict=True) if paired else ((), (), ())
    return judge(before, after, users, settings.least_gain)


def behind(log: Log, generation: int) -> int:
    """Interactions that the gate of a generation has still to read."""
    own = log_in(log, generation)
    partitions = range(own.topic(INTERACTIONS).partitions)
    return sum(max(0, own.end_offset(INTERACTIONS, p) - own.committed("gate", INTERACTIONS, p)) for p in partitions)


def _gated(log: Log, generation: int, since: int) -> Iterator[tuple[Event, str, int]]:
    """Events of a generation with their users and the ranks of their items."""
    own = log_in(log, generation)
    start, end = max(since, own.start_offset(GATED, 0)), own.acknowledged_end(GATED, 0)
    yield from readable(filter(is_event, own.read(GATED, 0, start, max(start, end))), _ranked, unreported)


def _ranked(record: Record) -> tuple[Event, str, int]:
    value: Mapping[str, Any] = record.value or {}
    event = str(value["event_id"]), str(value["target"]), float(value["timestamp"])
    return event, str(value["user_id"]), int(value["rank"])
