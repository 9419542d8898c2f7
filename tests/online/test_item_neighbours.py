"""Items of the same users: counted by hand, within the newest events only, and restored to the bit."""

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.online.item_neighbours import DECAY, SHRINKAGE, ItemNeighbours
from pipeline.online.item_recency import ItemRecency

LENGTH, ITEMS = 4, 12


def random_events(n: int, seed: int = 0) -> list[tuple[Ids, int]]:
    """Histories of distinct items, left-padded, and what was taken then."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        history = np.zeros(LENGTH, dtype=np.int64)
        known = int(rng.integers(0, LENGTH + 1))
        history[LENGTH - known :] = rng.choice(np.arange(1, ITEMS), size=known, replace=False)
        found.append((history, int(rng.integers(1, ITEMS))))
    return found


def expected(events: list[tuple[Ids, int]], asked: Ids) -> Array:
    """(ITEMS,) the sum in the module's docstring, event by event."""
    together, taken = np.zeros((ITEMS, ITEMS)), np.zeros(ITEMS)
    for history, row in events:
        taken[row] += 1
        for item in set(history.tolist()) - {0, row}:
            together[item, row] += 1
            together[row, item] += 1
    scores = np.zeros(ITEMS)
    for age, item in enumerate(reversed([item for item in asked.tolist() if item])):
        scores += DECAY**age * together[item] / np.sqrt((taken[item] + SHRINKAGE) * (taken + SHRINKAGE))
    return scores


def of_all(counts: ItemNeighbours, history: Ids) -> Array:
    """(ITEMS,) scores of all items."""
    return counts.scores(history).at(np.arange(ITEMS))


def neighbours(events: int) -> ItemNeighbours:
    made = ItemNeighbours(events, LENGTH)
    made.resize(ITEMS - 1)
    return made


@pytest.mark.parametrize("events", [5, 40, 1_000])
def test_scores_are_those_of_the_newest_events(events: int) -> None:
    counts, came = neighbours(events), random_events(150)
    for i, (history, row) in enumerate(came):
        counts.add(history, row)
        asked = came[(7 * i) % len(came)][0]
        np.testing.assert_allclose(of_all(counts, asked), expected(came[max(0, i + 1 - events) : i + 1], asked))


def test_they_restore_to_the_bit() -> None:
    counts, again, came = neighbours(30), neighbours(30), random_events(120)
    for event in came[:80]:
        counts.add(*event)
    again.restore(counts.to_arrays(), np.arange(ITEMS))
    for event in came[80:]:
        for each in (counts, again):
            each.add(*event)
        np.testing.assert_array_equal(of_all(counts, came[0][0]), of_all(again, came[0][0]))


def test_an_item_that_is_forgotten_leaves_no_trace() -> None:
    """As if its events, and its place in histories, had never been."""
    counts, other, came = neighbours(200), neighbours(200), random_events(100)
    for history, row in came:
        counts.add(history, row)
        if row != 3:
            other.add(np.where(history == 3, 0, history), row)
    counts.forget(np.array([3]))
    for history, _ in came:
        asked = np.where(history == 3, 0, history)
        np.testing.assert_allclose(of_all(counts, asked), of_all(other, asked))


def test_recency_counts_ages_and_idle_times_in_events() -> None:
    recency = ItemRecency()
    recency.resize(2)
    for row in (1, 2, 1):
        recency.add(row)
    recency.resize(4)
    recency.add(3)
    assert recency.counts.tolist() == [0, 2, 1, 1, 0]
    assert recency.idle(np.arange(1, 5)).tolist() == [1, 2, 0, 1]
    assert recency.ages(np.arange(1, 5)).tolist() == [3, 2, 0, 1], "one that was never taken is as old as it is known"
    again = ItemRecency()
    again.restore(recency.to_arrays(), np.arange(5))
    one = np.array([1])
    recency.forget(one)
    assert (recency.counts[1], recency.ages(one)[0], recency.idle(one)[0]) == (0, 0, 0)
    assert (again.counts[1], again.events) == (2, 4)
