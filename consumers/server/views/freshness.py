"""View of freshness: seconds of the newest steps between a gated event and its effect, for the dashboard.

    decided     newest window of an edit in `gated` to the edit                by the log
    published   edit to its record in `regions`, the training included         by the log
    served      record in `regions` to its regions in the answers of this server
    counted     record in `gated` to its counts in the answers of this server

The first two are read again at every start. The others are measured as they happen, and only after the log that was
there at the start has been read: how old that is says nothing about the server.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from consumers.runtime.freshness import newest_window
from pipeline.streams.interface import Record
from pipeline.streams.topics import EDITS, GATED, REGIONS
from pipeline.telemetry import Metrics, Step

KEPT = 512
"""Newest times that are remembered of each step, and edits whose publication or newest window is awaited."""

REMEMBERED = 20_000
"""Newest records of `gated` whose times are remembered."""


class Freshness:
    """Times of the newest steps.

    Args:
        clock: seconds since 1970.
        metrics: of the process; they get what is measured here, and the stages' metrics have the rest.
    """

    def __init__(self, clock: Callable[[], float], metrics: Metrics) -> None:
        self._clock, self._metrics = clock, metrics
        steps: tuple[Step, ...] = ("decided", "published", "served", "counted")
        self._seconds: dict[Step, deque[float]] = {step: deque(maxlen=KEPT) for step in steps}
        self._edited: dict[str, float] = {}
        self._gated: dict[int, float] = {}
        self._awaited: dict[int, list[float]] = {}

    def read(self, records: Sequence[Record]) -> None:
        """Note new records of `gated`, `edits` and `regions`, by the times at which they were written.

        Args:
            records: readable records in order of their offsets; those of other topics are left out.
        """
        gated = [record for record in records if record.topic == GATED and record.written_at is not None]
        self._gated |= {record.offset: record.written_at or 0.0 for record in gated}
        for record in [record for record in records if record.topic == EDITS][-KEPT:]:
            self._read_edit(record)
        for offset in self._awaited.keys() & self._gated.keys():
            gated_at = self._gated[offset]
            self._seconds["decided"].extend(max(0.0, edited - gated_at) for edited in self._awaited.pop(offset))
        _keep_newest(self._gated, REMEMBERED)
        for record in [record for record in records if record.topic == REGIONS]:
            edited = self._edited.get(str(_field(record, "edit_id")))
            if edited is not None and record.written_at is not None:
                self._seconds["published"].append(max(0.0, record.written_at - edited))

    def served(self, records: Sequence[Record]) -> None:
        """Note that the revisions among these records are in force now."""
        self._measure("served", [record for record in records if record.topic == REGIONS])

    def counted(self, records: Sequence[Record], gate: str | None) -> None:
        """Note that the events of a gate among these records are counted now; without a gate none are."""
        gated = [record for record in records if record.topic == GATED and gate is not None]
        self._measure("counted", [record for record in gated if _field(record, "gate") == gate])

    def quantiles(self) -> dict[str, dict[str, float | int]]:
        """Step -> median `p50` and 99th percentile `p99` of its newest times in seconds, and their number `count`.

        A step without times is not in it.
        """
        newest = {step: list(seconds) for step, seconds in self._seconds.items()}
        return {step: _quantiles(seconds) for step, seconds in newest.items() if seconds}

    def _read_edit(self, record: Record) -> None:
        if record.written_at is None or record.value is None:
            return
        self._edited[str(record.value["edit_id"])] = record.written_at
        _keep_newest(self._edited, KEPT)
        newest = newest_window(record.value)
        if newest is not None:
            # Topics are read side by side: the window may be still to come.
            self._awaited.setdefault(newest, []).append(record.written_at)
            _keep_newest(self._awaited, KEPT)

    def _measure(self, step: Step, records: Sequence[Record]) -> None:
        now = self._clock()
        seconds = [max(0.0, now - record.written_at) for record in records if record.written_at is not None]
        self._seconds[step].extend(seconds)
        self._metrics.fresh(step, seconds)


def _keep_newest(noted: dict[Any, Any], most: int) -> None:
    """Remove what was noted first, until `most` are left."""
    while len(noted) > most:
        del noted[next(iter(noted))]


def _field(record: Record, name: str) -> object:
    return None if record.value is None else record.value.get(name)


def _quantiles(seconds: Sequence[float]) -> dict[str, float | int]:
    median, highest = np.quantile(seconds, (0.5, 0.99)).tolist()
    return {"p50": median, "p99": highest, "count": len(seconds)}
