"""Timeline of a log, against a plain reading of it event by event."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.config import ItemSettings
from pipeline.events.item import Item
from pipeline.strategies.timeline import Stream, Timeline

SETUP, EVENTS, FIRST = ["a", "b", "c"], 120, 1_000
BATCHES = [*range(9, EVENTS, 10)]
BOUNDS = [
    ItemSettings(),
    ItemSettings(most=6),
    ItemSettings(time_to_live=25.0),
    ItemSettings(time_to_live=40.0, most=8),
]


def log(seed: int) -> tuple[dict[str, Item], Stream]:
    rng = np.random.default_rng(seed)
    ids = [*SETUP, *(f"n{i}" for i in range(12))]
    items = {i: Item(i) for i in ids}
    for number in range(4):
        begin = float(rng.integers(1, 100))
        items[f"p{number}"] = Item(f"p{number}", available_from=begin, expires=begin + float(rng.integers(1, 60)))
    items["c"] = Item("c", expires=50.0)
    taken = [list(items)[i] for i in np.minimum(rng.geometric(0.12, EVENTS), len(items)) - 1]
    moments = np.sort(rng.integers(0, 120, EVENTS)).astype(np.float64)
    return items, Stream(FIRST, moments, taken, BATCHES, [f"u{n % 7}" for n in range(EVENTS)])


def plain(
    items: dict[str, Item], stream: Stream, settings: ItemSettings
) -> tuple[list[set[str]], list[tuple[int, str]]]:
    """Items that exist at each event, and the evictions, with sets and nothing else."""
    since = float(stream.timestamps[0])
    last = dict.fromkeys(SETUP, (since, -1))
    described, began, found, evicted = dict(items), set(SETUP), [], []
    announced = {i: item.available_from for i, item in items.items() if item.available_from is not None}
    for n, (now, taken) in enumerate(zip(stream.timestamps.tolist(), stream.item_ids, strict=True)):
        for item_id in sorted([i for i, begin in announced.items() if begin <= now], key=lambda i: (announced[i], i)):
            began.add(item_id)
            announced.pop(item_id)
            last.setdefault(item_id, (now, n - 0.5))
        gone = {i for i, item in described.items() if item.expires is not None and item.expires <= now}
        found.append(began - gone)
        if taken not in announced:
            began.add(taken)
        last[taken] = (now, n)
        if n not in stream.batches:
            continue
        for item_id in sorted(last, key=lambda i: (last[i][1], i)):
            old = settings.time_to_live is not None and now - last[item_id][0] > settings.time_to_live
            if not old and len(last) <= settings.most:
                break
            del last[item_id]
            began.discard(item_id)
            described.pop(item_id, None)
            announced.pop(item_id, None)
            evicted.append((FIRST + n + 1, item_id))
    return found, evicted


def seen(timeline: Timeline, batches: Sequence[np.ndarray]) -> list[set[str]]:
    found = []
    for positions in batches:
        existence = timeline.existence(positions)
        for window in range(len(positions)):
            hidden = set(existence.hidden_from(window).tolist())
            found.append({timeline.item_ids[r - 1] for r in range(1, existence.items + 1) if r not in hidden})
    return found


@pytest.mark.parametrize("settings", BOUNDS, ids=["all", "most", "time to live", "both"])
@pytest.mark.parametrize("seed", range(5))
def test_every_event_sees_what_a_plain_reading_says_in_batches_of_any_size(seed: int, settings: ItemSettings) -> None:
    items, stream = log(seed)
    timeline, (expected, evicted) = Timeline(items, SETUP, stream, settings), plain(items, stream, settings)
    positions, rng = np.arange(FIRST, FIRST + EVENTS), np.random.default_rng(seed)
    for size in (EVENTS, 1, 7):
        assert seen(timeline, [positions[i : i + size] for i in range(0, EVENTS, size)]) == expected
    batches = [np.sort(rng.choice(positions, rng.integers(1, 20))) for _ in range(20)]
    assert seen(timeline, batches) == [expected[p - FIRST] for batch in batches for p in batch]
    assert [(e.position, i) for e in timeline.evictions for i in e.item_ids] == evicted
    assert bool(evicted) == (settings != BOUNDS[0])


def test_rows_are_those_of_set_up_then_in_order_of_appearance_and_never_used_again() -> None:
    items, stream = log(0)
    timeline = Timeline(items, SETUP, stream, BOUNDS[1])
    assert timeline.item_ids[:3] == ("a", "b", "c")
    assert len(set(timeline.item_ids)) == len(timeline.item_ids)
    brought = [timeline.row_of[i] for i in dict.fromkeys(stream.item_ids) if i.startswith("n")]
    assert brought == sorted(brought)
    for number, item_id in enumerate(stream.item_ids):
        assert timeline.row_of[item_id] <= timeline.last_row(FIRST + number)
    back = timeline.appearances(FIRST, timeline.end)
    assert len(back) > len(set(back))
    assert set(back) >= set(range(4, len(timeline.item_ids) + 1))


def test_interactions_of_a_user_are_counted_from_a_start_to_before_an_event():
    items, stream = log(3)
    timeline = Timeline(items, SETUP, stream, ItemSettings())
    start, positions = FIRST + 5, np.arange(FIRST, FIRST + EVENTS)
    counted = timeline.taken_since([*stream.users], positions, start)
    for number in range(EVENTS):
        assert counted[number] == stream.users[5:number].count(stream.users[number])
    assert timeline.taken_since(["nobody"], positions[-1:], start).tolist() == [0]
