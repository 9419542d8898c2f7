"""A data set as records of the log: items, the interactions that set-up learned from, and the stream after it.

Events of the stream have the numbers of a replay, and a mark where it ends a batch early: a gate in lockstep needs
both, a live one ignores them. Interactions that are not positive are left out, by the same rule as in a replay; where
the backbone reads labelled examples, they are dislikes, with numbers of their own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, is_positive, threshold_of
from pipeline.datasets.setup_items import setup_items
from pipeline.datasets.splits import cut
from pipeline.errors import DataError
from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.events.versioning import versioned
from pipeline.streams.interface import Transaction
from pipeline.streams.topics import INTERACTIONS, ITEMS


@dataclass(frozen=True)
class Feed:
    """Records to write.

    Attributes:
        items: of set-up, and those that no event of the stream brings.
        arrivals: items to write before the events of the stream with these numbers.
        past: the newest interactions of each user before the stream, as many as a gate remembers, in event order.
        stream: interactions after set-up, in event order.
        cuts: numbers of the events that end a batch in a replay.
    """

    items: Sequence[Item]
    arrivals: Mapping[int, Sequence[Item]]
    past: Sequence[Interaction]
    stream: Sequence[Interaction]
    cuts: frozenset[int]

    @property
    def before(self) -> int:
        """Number of records before the stream."""
        return len(self.items) + len(self.past)

    def send_items(self, transaction: Transaction, numbers: range) -> None:
        """Add items that precede the stream."""
        for item in self.items[numbers.start : numbers.stop]:
            _send_item(transaction, item, 0.0)

    def send_past(self, transaction: Transaction, numbers: range) -> None:
        """Add interactions that enter the histories and are not scored."""
        for event in self.past[numbers.start : numbers.stop]:
            _send_event(transaction, event, {"past": True})

    def send_stream(self, transaction: Transaction, numbers: range) -> None:
        """Add events of the stream, each after the items that come with it."""
        for number, event in zip(numbers, self.stream[numbers.start : numbers.stop], strict=True):
            for item in self.arrivals.get(number, ()):
                _send_item(transaction, item, event.timestamp)
            more: dict[str, Any] = {"sequence": number}
            _send_event(transaction, event, {**more, "cut": True} if number in self.cuts else more)


def feed_of(dataset: Dataset, config: Config) -> Feed:
    """Prepare the records of a data set.

    Raises:
        DataError: the protocol is `windows`, whose windows do not follow from a log, or the log cannot be cut.
    """
    if config.protocol != "prequential":
        raise DataError("a stream is prequential: set protocol to prequential")
    threshold = threshold_of(dataset, config.data.positive_from)
    counts = is_positive(dataset, threshold)
    slices = cut(dataset.interactions.timestamps[counts], (config.data.finetune_from, config.data.test_from))
    chosen = np.ones_like(counts) if config.backbone.format == "examples" else counts
    events, counts = dataset.interactions[chosen], counts[chosen]
    until, _ = slices.bounds(events.timestamps)
    before, stream = events[:until], events[until:]
    kept = _remembered(before, counts[:until], config.windows.length, config.most_earlier)
    known = set(setup_items(dataset, before[counts[:until]], slices))
    arrivals = _arrivals(dataset, known, stream, counts[until:])
    later = {item.item_id for items in arrivals.values() for item in items}
    items = [item if item.item_id in known else _when_taken(item) for item in dataset.items.values()]
    cuts = _cuts(counts[until:], config.replay.parts)
    return Feed([item for item in items if item.item_id not in later], arrivals, before[kept], stream, cuts)


def _cuts(counts: NDArray[np.bool_], parts: int) -> frozenset[int]:
    """Numbers of the events of a stream that end a batch: the last target of each part, and the last event of all."""
    ends = [int(part[-1]) for part in np.array_split(np.flatnonzero(counts), parts) if len(part)]
    return frozenset((*ends, len(counts) - 1))


def _remembered(before: Interactions, counts: NDArray[np.bool_], length: int, earlier: int) -> NDArray[np.int64]:
    """Indices of the interactions that a gate remembers: each user's window, and distinct items that left it.

    Args:
        before: interactions before the stream, in event order.
        counts: False for dislikes, which are forgotten once they leave the window.
        length: items of a window.
        earlier: distinct items remembered that left it.
    """
    taken: dict[int, int] = defaultdict(int)
    left: dict[int, set[int]] = defaultdict(set)
    kept: list[int] = []
    for index, user, item in zip(
        range(len(before) - 1, -1, -1), before.users[::-1].tolist(), before.items[::-1].tolist(), strict=True
    ):
        if taken[user] >= length:
            if len(left[user]) >= earlier or not counts[index]:
                continue
            left[user].add(item)
        taken[user] += 1
        kept.append(index)
    return np.array(kept[::-1], dtype=np.int64)


def _arrivals(
    dataset: Dataset, known: set[str], stream: Interactions, counts: NDArray[np.bool_]
) -> dict[int, list[Item]]:
    """Items by the number of the event before which each is written: its first one, or the first after its moment.

    A dislike is none of these. An item without a moment exists from just after its first interaction, and its record
    says so: a live gate may have read it before.
    """
    arrivals: dict[int, list[Item]] = defaultdict(list)
    firsts = _first_interactions(stream, counts)
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


def _first_interactions(stream: Interactions, counts: NDArray[np.bool_]) -> dict[str, int]:
    """Number of the first event of each item that counts."""
    numbers = np.flatnonzero(counts)
    places, firsts = np.unique(stream.items[numbers], return_index=True)
    return dict(zip(stream.item_ids[places].tolist(), numbers[firsts].tolist(), strict=True))


def _value(event: Interaction, more: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "timestamp": event.timestamp,
    }
    return versioned({**value, **({} if event.value is None else {"value": event.value}), **more})


def _send_event(transaction: Transaction, event: Interaction, more: dict[str, Any]) -> None:
    transaction.send(INTERACTIONS, _value(event, more), key=event.user_id, timestamp=event.timestamp)


def _send_item(transaction: Transaction, item: Item, timestamp: float) -> None:
    transaction.send(ITEMS, versioned(item.to_record()), key=item.item_id, timestamp=timestamp)
