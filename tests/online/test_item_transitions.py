"""What was taken after what: counted by hand, within the newest events only, and restored to the bit."""

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.online.item_transitions import ItemTransitions

LENGTH = 3
ITEMS = 12


def random_events(n: int, seed: int = 0) -> list[tuple[Ids, int]]:
    """Windows with their oldest places empty now and then, some with an item twice, and what was taken then."""
    rng = np.random.default_rng(seed)
    contexts = rng.integers(1, ITEMS, size=(n, LENGTH))
    contexts[np.arange(LENGTH) < rng.integers(0, LENGTH + 1, size=n)[:, None]] = 0
    return list(zip(contexts, rng.integers(1, ITEMS, size=n).tolist(), strict=True))


def counted(events: list[tuple[Ids, int]], context: Ids) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(ITEMS,) the sum in the module's docstring, event by event."""
    sums = np.zeros(ITEMS)
    for before, taken in events:
        for place, item in enumerate(context.tolist(), start=1):
            for other, same in enumerate(before.tolist(), start=1):
                sums[taken] += place * other * (item == same != 0)
    return sums


def of_all(transitions: ItemTransitions, context: Ids) -> Array:
    """(ITEMS,) scores of all items."""
    return transitions.scores(context).at(np.arange(ITEMS))


@pytest.mark.parametrize("events", [5, 40, 1_000])
def test_scores_are_sums_over_the_newest_events(events: int) -> None:
    transitions, came = ItemTransitions(events, LENGTH), random_events(200)
    for i, (context, row) in enumerate(came):
        transitions.add(context, row)
        asked = came[(7 * i) % len(came)][0]
        sums = counted(came[max(0, i + 1 - events) : i + 1], asked)
        np.testing.assert_array_equal(of_all(transitions, asked), sums)


def test_nothing_follows_what_nobody_took_and_an_empty_window() -> None:
    transitions = ItemTransitions(60, LENGTH)
    transitions.add(np.array([0, 1, 2]), 3)
    for context in ([0, 0, 0], [0, 3, 4]):
        assert not len(transitions.scores(np.array(context)).rows)


def test_the_newest_item_says_most() -> None:
    transitions = ItemTransitions(60, LENGTH)
    transitions.add(np.array([0, 0, 1]), 5)
    transitions.add(np.array([0, 0, 2]), 6)
    scores = of_all(transitions, np.array([0, 1, 2]))
    assert (scores[5], scores[6]) == (2 * 3, 3 * 3)


def test_they_restore_to_the_bit_and_what_was_given_out_stays() -> None:
    transitions, again, came = (
        ItemTransitions(40, LENGTH),
        ItemTransitions(40, LENGTH),
        random_events(200),
    )
    for context, row in came[:100]:
        transitions.add(context, row)
    kept = transitions.to_arrays()
    before = {name: array.copy() for name, array in kept.items()}
    again.restore(kept, np.arange(1 + max(row for _, row in came)))
    for context, row in came[100:]:
        for each in (transitions, again):
            each.add(context, row)
        for asked in (context, came[0][0]):
            np.testing.assert_array_equal(of_all(transitions, asked), of_all(again, asked))
    assert all(np.array_equal(kept[name], before[name]) for name in before)
