"""Writes a data set into the log as a named feed: at once, at a rate, or in the time of its events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.producer.feed import Feed
from consumers.producer.named_feed import NamedFeed
from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, threshold_of
from pipeline.events.interactions import Interactions
from pipeline.streams.interface import Log, Transaction

TRANSACTION = 500
"""Most records of the source in a transaction."""

PAUSE = 0.05
"""Seconds between two checks for events that are due."""

Progress = Callable[[str, int, int], None]
"""Function called with (stage, done, total)."""

Send = Callable[[Transaction, range], None]


@dataclass(frozen=True)
class Pace:
    """Times at which the events of a stream are written; without speed and rate, at once.

    Attributes:
        speed: seconds of event time per second of real time, or None.
        rate: events per second, or None.
    """

    speed: float | None = None
    rate: float | None = None

    def due(self, stamps: NDArray[np.float64], passed: float) -> int:
        """Number of events that are due after so many seconds."""
        if self.rate is not None:
            return min(len(stamps), int(passed * self.rate) + 1)
        if self.speed is not None and len(stamps):
            return int(np.searchsorted(stamps, stamps[0] + passed * self.speed, side="right"))
        return len(stamps)


class FeedWriter:
    """Writes a feed from its position on.

    Args:
        log: has the topics.
        feed: the records.
        name: name of the feed.
        source: what decides the records; see `source_of`.
        progress: called with (stage, done, total).

    Raises:
        DataError: a feed of this name was begun with another source.
    """

    def __init__(self, log: Log, feed: Feed, name: str, source: Mapping[str, Any], progress: Progress) -> None:
        self._feed, self._progress = feed, progress
        self._named = NamedFeed(log, name, source)

    @property
    def written(self) -> int:
        """Number of events of the stream that are written."""
        return max(0, self._named.done.position - self._feed.before)

    def write_before(self) -> None:
        """Write items and histories that precede the stream."""
        items, past = len(self._feed.items), len(self._feed.past)
        self._write_part("items", self._feed.send_items, 0, items)
        self._write_part("histories before the stream", self._feed.send_past, items, past)

    def write_stream(self, pace: Pace, sleep: Callable[[float], None], clock: Callable[[], float]) -> int:
        """Write the stream; return the number of its events that this call wrote."""
        first, total, began = self.written, len(self._feed.stream), clock()
        stamps = Interactions.of(self._feed.stream).timestamps[first:]
        while self.written < total:
            due = first + pace.due(stamps, clock() - began)
            batch = range(self.written, min(due, self.written + TRANSACTION))
            if not batch:
                sleep(PAUSE)
                continue
            self._write(self._feed.send_stream, batch, self._feed.before)
            self._progress("interactions", batch.stop, total)
        return total - first

    def _write_part(self, stage: str, send: Send, start: int, count: int) -> None:
        for first in range(self._named.done.position - start, count, TRANSACTION):
            batch = range(first, min(first + TRANSACTION, count))
            self._write(send, batch, start)
            self._progress(stage, batch.stop, count)

    def _write(self, send: Send, batch: range, start: int) -> None:
        self._named.write(lambda transaction: send(transaction, batch), start + batch.stop)


def source_of(dataset: Dataset, config: Config) -> dict[str, Any]:
    """Return what decides the records of a data set: its content, and the settings that select and cut it."""
    data, read_as = config.data, config.backbone.format
    return {
        **({"backbone.format": read_as} if read_as == "examples" else {}),
        "data": dataset.sha256,
        "data.positive_from": threshold_of(dataset, data.positive_from),
        "data.event_types": dict(data.event_types),
        "data.finetune_from": data.finetune_from,
        "windows.length": config.windows.length,
        "replay.parts": config.replay.parts,
    }
