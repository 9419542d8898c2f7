"""Reads the windows of every generation as they come: retention takes them before a run ends."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Set
from threading import Event

from consumers.runtime.generations import log_in, read_generations
from pipeline.errors import LogError
from pipeline.streams.interface import Log
from pipeline.streams.topics import GATED

INTERVAL = 0.1
"""Seconds between two looks."""


class Follower:
    """Counts how often each generation has gated each event.

    Args:
        log: the whole log, for this thread alone.
        stop: ends it.

    Attributes:
        gated: number of times by event id, by generation.
        first: monotonic time at which the generation that answers had gated an event, by its id: that of the switch, if
            it had gated it in the shadow and the one before had not.
    """

    def __init__(self, log: Log, stop: Event) -> None:
        self.gated: dict[int, Counter[str]] = defaultdict(Counter)
        self.first: dict[str, float] = {}
        self._log, self._stop, self._active = log, stop, 1
        self._positions: dict[int, int] = defaultdict(int)

    def run(self) -> None:
        """Follow until the stop."""
        while not self._stop.wait(INTERVAL):
            try:
                self._look()
            except LogError:
                # A broker is gone, or a generation was pruned between two calls.
                continue

    def wait_for(self, expected: Set[str], patience: float) -> bool:
        """Wait until all these events are gated by a generation that answered; False if it takes too long."""
        until = time.monotonic() + patience
        while expected - self.first.keys():
            if time.monotonic() > until:
                return False
            time.sleep(0.5)
        # What a gate would do twice comes now.
        time.sleep(3.0)
        return True

    def _look(self) -> None:
        generations = read_generations(self._log)
        if generations.active.number != self._active:
            self._active = generations.active.number
            self._answered(self.gated[self._active])
        for one in generations.running:
            log, position = log_in(self._log, one.number), self._positions[one.number]
            end = log.end_offset(GATED, 0)
            if end <= position:
                continue
            values = [record.value for record in log.read(GATED, 0, position, end) if record.value is not None]
            ids = [value["event_id"] for value in values if "event_id" in value]
            self.gated[one.number].update(ids)
            if one.number == self._active:
                self._answered(ids)
            self._positions[one.number] = end

    def _answered(self, ids: Iterable[str]) -> None:
        now = time.monotonic()
        for event_id in ids:
            self.first.setdefault(event_id, now)
