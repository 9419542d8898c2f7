"""Counts of item pairs: what is taken away leaves no trace."""

import numpy as np

from pipeline.online.pair_counts import PairCounts


def pairs(counts: PairCounts, first: int) -> dict[int, float]:
    found = counts.weighted(np.array([first]), np.ones(1))
    return dict(zip(found.rows.tolist(), found.values.tolist(), strict=True))


def add(counts: PairCounts, first: int, second: int, count: int) -> None:
    counts.add(np.array([first]), np.array([second]), np.array([count]))


def test_counts_are_sums_and_zero_counts_are_removed() -> None:
    rng, counts, expected = np.random.default_rng(0), PairCounts(), np.zeros((8, 8), dtype=int)
    events = rng.integers(0, 8, size=(400, 2)).tolist()
    for number, (first, second) in enumerate(events):
        add(counts, first, second, number % 3 + 1)
        expected[first, second] += number % 3 + 1
        if number >= 50:
            before, after = events[number - 50]
            add(counts, before, after, -((number - 50) % 3 + 1))
            expected[before, after] -= (number - 50) % 3 + 1
        for one in range(8):
            assert pairs(counts, one) == {int(i): float(expected[one, i]) for i in np.flatnonzero(expected[one])}


def test_an_item_without_pairs_has_none() -> None:
    assert pairs(PairCounts(), 3) == {}


def test_counts_that_are_summed_at_once_are_those_added_one_by_one() -> None:
    rng, one_by_one = np.random.default_rng(1), PairCounts()
    firsts, seconds, counts = rng.integers(1, 7, size=(3, 300))
    for pair in zip(firsts.tolist(), seconds.tolist(), counts.tolist(), strict=True):
        add(one_by_one, *pair)
    at_once = PairCounts.summed(firsts, seconds, counts)
    for first in range(8):
        assert pairs(at_once, first) == pairs(one_by_one, first)
    add(at_once, 1, 99, 2)
    assert pairs(at_once, 1)[99] == 2.0
    assert pairs(PairCounts.summed(firsts[:0], seconds[:0], counts[:0]), 1) == {}


def test_room_left_behind_by_removed_pairs_is_used_again() -> None:
    rng, counts, expected = np.random.default_rng(2), PairCounts(), np.zeros((60, 60), dtype=int)
    events = rng.integers(0, 60, size=(400, 2, 12))
    for number, (firsts, seconds) in enumerate(events):
        counts.add(firsts, seconds, np.ones(12, dtype=np.int64))
        np.add.at(expected, (firsts, seconds), 1)
        if number >= 20:
            old_firsts, old_seconds = events[number - 20]
            counts.add(old_firsts, old_seconds, np.full(12, -1))
            np.add.at(expected, (old_firsts, old_seconds), -1)
    for one in range(60):
        assert pairs(counts, one) == {int(i): float(expected[one, i]) for i in np.flatnonzero(expected[one])}
    assert counts.memory_bytes < 20_000, "240 pairs at a time, 4,800 in all"
