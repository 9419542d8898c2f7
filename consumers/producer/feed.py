"""Feeding a data set into the log: items, the past that set-up has learned from, and the stream after it.

Events of the stream are numbered as a replay counts them, and marked where it ends a batch early: a gate in lockstep
needs both, a live one looks at neither. What does not count as liking is left out, by the same rule as in a replay.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, positives
from pipeline.datasets.splits import cut
from pipeline.errors import DataError
from pipeline.events.interaction import Interaction, Item
from pipeline.events.interactions import Interactions
from pipeline.events.versioning import versioned
from pipeline.streams.interface import Log
from pipeline.streams.topics import INTERACTIONS, ITEMS

TRANSACTION = 500
"""Records of one transaction."""

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Feed:
    """What is written.

    Attributes:
        items: of the catalogue.
        past: the newest interactions of each user before the stream, in event order.
        stream: what is gated, in event order.
        cuts: numbers of events with which a replay ends a batch.
    """

    items: Sequence[Item]
    past: Sequence[Interaction]
    stream: Sequence[Interaction]
    cuts: frozenset[int]

    def write_items(self, log: Log, progress: Told) -> None:
        """Write items; the same content again is no harm."""
        values = [
            versioned({"item_id": i.item_id, "text": i.text, "attributes": dict(i.attributes)}) for i in self.items
        ]
        _write(log, ITEMS, [(v["item_id"], v, 0.0) for v in values], "items", progress)

    def write_past(self, log: Log, progress: Told) -> None:
        """Write what makes histories and is not gated."""
        records = [(e.user_id, _value(e, {"past": True}), e.timestamp) for e in self.past]
        _write(log, INTERACTIONS, records, "histories before the stream", progress)

    def write_stream(
        self,
        log: Log,
        progress: Told,
        speed: float | None,
        rate: float | None,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> int:
        """Write the stream, at its own pace, at a rate, or at once; return how many events it has."""
        producer, began, done = log.producer("produce-stream"), clock(), 0
        times = Interactions.of(self.stream).timestamps
        first = float(times[0]) if len(times) else 0.0
        while done < len(self.stream):
            due = len(self.stream)
            passed = clock() - began
            if rate is not None:
                due = min(due, int(passed * rate) + 1)
            elif speed is not None:
                due = int(np.searchsorted(times, first + passed * speed, side="right"))
            some = range(done, min(due, done + TRANSACTION))
            if not some:
                sleep(0.05)
                continue
            with producer.transaction() as transaction:
                for number, event in zip(some, self.stream[some.start : some.stop], strict=True):
                    more = {"sequence": number}
                    value = _value(event, {**more, "cut": True} if number in self.cuts else more)
                    transaction.send(INTERACTIONS, value, key=event.user_id, timestamp=event.timestamp)
            done = some.stop
            progress("interactions", done, len(self.stream))
        return done


def feed_of(dataset: Dataset, config: Config) -> Feed:
    """Lay out what is written of a data set.

    Raises:
        DataError: the protocol is `windows`, whose windows do not follow from a log, or the log cannot be cut.
    """
    if config.protocol != "prequential":
        raise DataError("a stream is prequential: set protocol to prequential")
    threshold = dataset.positive_from if config.data.positive_from is None else config.data.positive_from
    events = positives(dataset, threshold)
    slices = cut(events.timestamps, (config.data.finetune_from, config.data.test_from))
    until, _ = slices.bounds(events.timestamps)
    before, stream = events[:until], events[until:]
    newest: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=config.windows.length))
    for place, user in enumerate(before.users.tolist()):
        newest[user].append(place)
    kept = np.array(sorted(place for places in newest.values() for place in places), dtype=np.int64)
    parts = np.array_split(np.arange(len(stream)), config.replay.parts)
    cuts = frozenset(int(part[-1]) for part in parts if len(part))
    return Feed(list(dataset.items.values()), before[kept], stream, cuts)


def _value(event: Interaction, more: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "timestamp": event.timestamp,
    }
    return versioned({**value, **({} if event.value is None else {"value": event.value}), **more})


def _write(log: Log, topic: str, records: Sequence[tuple[str, Any, float]], stage: str, progress: Told) -> None:
    producer = log.producer(f"produce-{topic}")
    for start in range(0, len(records), TRANSACTION):
        with producer.transaction() as transaction:
            for key, value, timestamp in records[start : start + TRANSACTION]:
                transaction.send(topic, value, key=key, timestamp=timestamp)
        progress(stage, min(start + TRANSACTION, len(records)), len(records))
