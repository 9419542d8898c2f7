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


class GatedByBoth:
    """Events that a generation and the one that answers have gated, each record of both read once.

    The gate of the new one began where its set-up ends, so neither set-up knows any of them.

    Args:
        log: the whole log, or a generation's part.
        generations: state of all.
        new: the generation that is compared.

    Attributes:
        events: number of events that both have gated.
    """

    def __init__(self, log: Log, generations: Generations, new: Generation) -> None:
        active = generations.active.number
        self.events = 0
        self._log, self._active, self._new = log, active, new.number
        self._positions = {active: new.gated if new.beside == active else 0, new.number: 0}
        self._before: dict[Event, tuple[str, int]] = {}
        self._after: dict[Event, int] = {}

    def poll(self) -> None:
        """Read what came since the last call."""
        self._after |= {event: rank for event, _, rank in self._gated(self._new)}
        self._before |= {event: (user, rank) for event, user, rank in self._gated(self._active)}
        self.events = len(self._before.keys() & self._after.keys())

    def judge(self, settings: RefreshSettings) -> Judgement:
        """Compare the two on what was read."""
        paired = [(user, rank, self._after[e]) for e, (user, rank) in self._before.items() if e in self._after]
        users, before, after = zip(*paired, strict=True) if paired else ((), (), ())
        return judge(before, after, users, settings.least_gain)

    def _gated(self, generation: int) -> Iterator[tuple[Event, str, int]]:
        """Events of a generation with their users and the ranks of their items."""
        own = log_in(self._log, generation)
        start, end = max(self._positions[generation], own.start_offset(GATED, 0)), own.acknowledged_end(GATED, 0)
        self._positions[generation] = max(start, end)
        yield from readable(filter(is_event, own.read(GATED, 0, start, max(start, end))), _ranked, unreported)


def judgement(log: Log, generations: Generations, new: Generation, settings: RefreshSettings) -> Judgement:
    """Compare a generation with the one that answers, on all events that both have gated."""
    both = GatedByBoth(log, generations, new)
    both.poll()
    return both.judge(settings)


def behind(log: Log, generation: int) -> int:
    """Interactions that the gate of a generation has still to read."""
    own = log_in(log, generation)
    partitions = range(own.topic(INTERACTIONS).partitions)
    return sum(max(0, own.end_offset(INTERACTIONS, p) - own.committed("gate", INTERACTIONS, p)) for p in partitions)


def _ranked(record: Record) -> tuple[Event, str, int]:
    value: Mapping[str, Any] = record.value or {}
    event = str(value["event_id"]), str(value["target"]), float(value["timestamp"])
    return event, str(value["user_id"]), int(value["rank"])
