"""Health of a process: the problems behind `/healthz` and `/readyz`, and the metrics of a stage's loop.

Healthy is a process that still works; ready is one whose state is restored and whose log is within reach.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from consumers.runtime.freshness import ENDS
from consumers.runtime.stage import Output
from pipeline.streams.interface import Consumer, Log, Record, TopicPartition
from pipeline.streams.topics import DEAD_LETTERS
from pipeline.telemetry import Metrics


class Health(Protocol):
    """A process that can say what is wrong with it."""

    def stuck(self) -> str | None:
        """Reason to restart the process, or None."""

    def unready(self) -> str | None:
        """Reason to send it no requests, or None."""


def probe(path: str, health: Health) -> tuple[int, str | None]:
    """Status code and problem for `/healthz` or `/readyz`: 200 without a problem, 503 with one."""
    problem = health.stuck() if path == "/healthz" else health.unready()
    return (200 if problem is None else 503), problem


class LoopHealth:
    """Health and metrics of one loop.

    Args:
        metrics: of its process.
        clock: monotonic seconds.
        say: shows a status line.
        patience: seconds without a turn after which the loop counts as stuck.
        interval: seconds between two reads of end offsets and positions, which query the log.
        wall_clock: seconds since 1970, for the freshness of what is committed.

    Attributes:
        ready: True if the last turn had its partitions restored and the log within reach.
        turned: time at which the last turn began, by the clock.
    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float],
        say: Callable[[str], None],
        patience: float = math.inf,
        interval: float = 1.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.ready = False
        self.turned = clock()
        self._metrics = metrics
        self._clock = clock
        self._say = say
        self._patience = patience
        self._interval = interval
        self._wall_clock = wall_clock
        self._measured = clock() - interval
        self._last_move: dict[TopicPartition, tuple[int, float]] = {}
        self._is_preparing = False

    def stuck(self) -> str | None:
        """See `Health`."""
        if self._is_preparing:
            return None
        still = self._clock() - self.turned
        return f"no turn for {still:.0f} s, at most {self._patience:g} are usual" if still > self._patience else None

    def unready(self) -> str | None:
        """See `Health`."""
        return None if self.ready else "partitions are not restored, or the log is out of reach"

    def polled(self, records: Sequence[Record], log: Log, consumer: Consumer) -> None:
        """Note a poll, after state was restored for the partitions assigned."""
        self.ready = True
        self.turned = self._clock()
        for topic, count in Counter(record.topic for record in records).items():
            self._metrics.events.labels(topic).inc(count)
        if self.turned - self._measured >= self._interval:
            self._measured = self.turned
            self._measure_lag(log, consumer)

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Take a stage's preparation for life, however long it takes: whatever it waits for has a deadline."""
        self._is_preparing = True
        try:
            yield
        finally:
            self._is_preparing, self.turned = False, self._clock()

    def said(self, message: str) -> None:
        """Show a status line."""
        self._say(message)

    @contextmanager
    def batch(self, records: Sequence[Record]) -> Iterator[None]:
        """Time the handling of records; a turn without any is not counted."""
        began = self._clock()
        yield
        if records:
            self._metrics.batch_seconds.observe(self._clock() - began)

    def committed(self, outputs: Sequence[Output]) -> None:
        """Note the records of a transaction that is committed."""
        now, waits = self._wall_clock(), defaultdict(list)
        for output in outputs:
            if output.topic == DEAD_LETTERS:
                self._metrics.dead_letters.labels(output.key).inc()
            if output.since is not None:
                waits[output.topic].append(now - output.since)
        for topic, seconds in waits.items():
            self._metrics.fresh(ENDS[topic], seconds)

    def failed(self, message: str, pause: float) -> None:
        """Note that the log is out of reach, and that the next attempt follows after `pause` seconds."""
        self.ready = False
        self._metrics.reopened.inc()
        self._say(f"{message}; trying again in {pause:g} s")

    def _measure_lag(self, log: Log, consumer: Consumer) -> None:
        assigned = consumer.assignment
        for where in set(self._last_move) - set(assigned):
            del self._last_move[where]
            self._metrics.forget_partition(*where)
        for where in assigned:
            position = consumer.position(*where)
            lag = max(0, log.end_offset(*where) - position)
            before, since = self._last_move.get(where, (position, self.turned))
            if lag == 0 or before != position:
                since = self.turned
            self._last_move[where] = (position, since)
            self._metrics.lag.labels(*where).set(lag)
            self._metrics.stalled_seconds.labels(*where).set(self.turned - since)
