"""Writes a data set into the log: items, the interactions that set-up learned from, and the stream after it.

Events of the stream have the numbers of a replay, and a mark where it ends a batch early: a gate in lockstep needs
both, a live one ignores them. Interactions that are not positive are left out, by the same rule as in a replay.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, positives, threshold_of
from pipeline.datasets.setup_items import setup_items
from pipeline.datasets.splits import cut
from pipeline.errors import DataError
from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.events.versioning import versioned
from pipeline.streams.interface import Log, Producer
from pipeline.streams.topics import INTERACTIONS, ITEMS

TRANSACTION = 500
"""Most records of a transaction."""

PAUSE = 0.05
"""Seconds between two checks for events that are due."""

Progress = Callable[[str, int, int], None]
"""Function called with (stage, done, total)."""


@dataclass(frozen=True)
class Feed:
    """Records to write.

    Attributes:
        items: of set-up, and those that no event of the stream brings.
        arrivals: items to write before the events of the stream with these numbers.
        past: the newest interactions of each user before the stream, in event order.
        stream: interactions after set-up, in event order.
        cuts: numbers of the events that end a batch in a replay.
    """

    items: Sequence[Item]
    arrivals: Mapping[int, Sequence[Item]]
    past: Sequence[Interaction]
    stream: Sequence[Interaction]
    cuts: frozenset[int]

    def write_items(self, log: Log, progress: Progress) -> None:
        """Write the items that precede the stream; writing the same content again changes nothing."""
        values = [versioned(item.to_record()) for item in self.items]
        _write(log, ITEMS, [(v["item_id"], v, 0.0) for v in values], "items", progress)

    def write_past(self, log: Log, progress: Progress) -> None:
        """Write interactions that enter the histories and are not scored."""
        records = [(e.user_id, _value(e, {"past": True}), e.timestamp) for e in self.past]
        _write(log, INTERACTIONS, records, "histories before the stream", progress)

    def write_stream(
        self,
        log: Log,
        progress: Progress,
        speed: float | None,
        rate: float | None,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> int:
        """Write the stream: `speed` times as fast as event time, at a `rate` per second, or at once.

        Returns:
            The number of events.
        """
        producer, began, done = log.producer("produce-stream"), clock(), 0
        stamps = Interactions.of(self.stream).timestamps
        while done < len(self.stream):
            due = _due(stamps, clock() - began, speed, rate)
            batch = range(done, min(due, done + TRANSACTION))
            if not batch:
                sleep(PAUSE)
                continue
            self._write_batch(producer, batch)
            done = batch.stop
            progress("interactions", done, len(self.stream))
        return done

    def _write_batch(self, producer: Producer, numbers: range) -> None:
        with producer.transaction() as transaction:
            for number, event in zip(numbers, self.stream[numbers.start : numbers.stop], strict=True):
                for item in self.arrivals.get(number, ()):
                    transaction.send(
                        ITEMS, versioned(item.to_record()), key=item.item_id, partition=0, timestamp=event.timestamp
                    )
                more = {"sequence": number}
                value = _value(event, {**more, "cut": True} if number in self.cuts else more)
                transaction.send(INTERACTIONS, value, key=event.user_id, timestamp=event.timestamp)


def _due(stamps: NDArray[np.float64], passed: float, speed: float | None, rate: float | None) -> int:
    """Number of events that are due after so many seconds; all of them without speed and rate."""
    if rate is not None:
        return min(len(stamps), int(passed * rate) + 1)
    if speed is not None and len(stamps):
        return int(np.searchsorted(stamps, stamps[0] + passed * speed, side="right"))
    return len(stamps)


def feed_of(dataset: Dataset, config: Config) -> Feed:
    """Prepare the records of a data set.

    Raises:
        DataError: the protocol is `windows`, whose windows do not follow from a log, or the log cannot be cut.
    """
    if config.protocol != "prequential":
        raise DataError("a stream is prequential: set protocol to prequential")
    events = positives(dataset, threshold_of(dataset, config.data.positive_from))
    slices = cut(events.timestamps, (config.data.finetune_from, config.data.test_from))
    until, _ = slices.bounds(events.timestamps)
    before, stream = events[:until], events[until:]
    newest: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=config.windows.length))
    for index, user in enumerate(before.users.tolist()):
        newest[user].append(index)
    kept = np.array(sorted(index for indices in newest.values() for index in indices), dtype=np.int64)
    parts = np.array_split(np.arange(len(stream)), config.replay.parts)
    cuts = frozenset(int(part[-1]) for part in parts if len(part))
    known = set(setup_items(dataset, before, slices))
    arrivals = _arrivals(dataset, known, stream)
    later = {item.item_id for items in arrivals.values() for item in items}
    items = [item if item.item_id in known else _when_taken(item) for item in dataset.items.values()]
    return Feed([item for item in items if item.item_id not in later], arrivals, before[kept], stream, cuts)


def _arrivals(dataset: Dataset, known: set[str], stream: Interactions) -> dict[int, list[Item]]:
    """Items by the number of the event before which each is written: its first one, or the first after its moment.

    An item without a moment exists from just after its first interaction, and its record says so: a live gate may
    have read it before.
    """
    arrivals: dict[int, list[Item]] = defaultdict(list)
    firsts = _first_interactions(stream)
    for item in dataset.items.values():
        number = firsts.get(item.item_id, len(stream))
        if item.available_from is not None:
            number = min(number, int(np.searchsorted(stream.timestamps, item.available_from)))
        if item.item_id not in known and number < len(stream):
            arrivals[number].append(_when_taken(item))
    return arrivals


def _when_taken(item: Item) -> Item:
    """An item that exists from its first interaction on, unless it has a moment."""
    return replace(item, available_from=WHEN_TAKEN) if item.available_from is None else item


def _first_interactions(stream: Interactions) -> dict[str, int]:
    """Number of the first event of each item."""
    places, numbers = np.unique(stream.items, return_index=True)
    return dict(zip(stream.item_ids[places].tolist(), numbers.tolist(), strict=True))


def _value(event: Interaction, more: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "timestamp": event.timestamp,
    }
    return versioned({**value, **({} if event.value is None else {"value": event.value}), **more})


def _write(log: Log, topic: str, records: Sequence[tuple[str, Any, float]], stage: str, progress: Progress) -> None:
    producer = log.producer(f"produce-{topic}")
    for start in range(0, len(records), TRANSACTION):
        with producer.transaction() as transaction:
            for key, value, timestamp in records[start : start + TRANSACTION]:
                transaction.send(topic, value, key=key, timestamp=timestamp)
        progress(stage, min(start + TRANSACTION, len(records)), len(records))
