"""Existence of items for the windows of a batch, against a plain matrix of who exists when."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.events.existence import Change, Existence, ranks_of_existing

ITEMS, WINDOWS = 9, 12


def drawn(seed: int) -> tuple[Existence, np.ndarray]:
    """Random begins and ends, several an item among them, and the (windows, items + 1) matrix that they give."""
    rng = np.random.default_rng(seed)
    state = rng.random(ITEMS + 1) < 0.5
    state[0] = False
    matrix, changes = np.zeros((WINDOWS, ITEMS + 1), dtype=np.bool_), []
    for window in range(WINDOWS + 1):
        for _ in range(rng.integers(0, 3)):
            row = int(rng.integers(1, ITEMS + 1))
            state[row] = not state[row]
            changes.append(Change(window, row, bool(state[row])))
        if window < WINDOWS:
            matrix[window] = state
    return Existence.after(state, changes, WINDOWS), matrix


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_matrix_of_who_exists_when(seed: int) -> None:
    existence, matrix = drawn(seed)
    for scores in (np.ones((WINDOWS, ITEMS + 1)), torch.ones(WINDOWS, ITEMS + 1)):
        existence.hide(scores, 0.0)
        np.testing.assert_array_equal(np.asarray(scores)[:, 1:], matrix[:, 1:])
    assert existence.counts(WINDOWS).tolist() == matrix.sum(axis=1).tolist()
    for window in range(WINDOWS):
        hidden = sorted(existence.hidden_from(window).tolist())
        assert hidden == (np.flatnonzero(~matrix[window, 1:]) + 1).tolist()
    for row in range(ITEMS + 3):
        expected = matrix[:, row] if row <= ITEMS else np.zeros(WINDOWS, dtype=np.bool_)
        np.testing.assert_array_equal(existence.includes(np.full(WINDOWS, row)), expected)


@pytest.mark.parametrize("seed", range(20))
def test_some_of_the_windows_see_what_they_saw_among_all(seed: int) -> None:
    existence, matrix = drawn(seed)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(WINDOWS) < 0.5)
    scores = np.ones((len(chosen), ITEMS + 1))
    existence.select(chosen).hide(scores, 0.0)
    np.testing.assert_array_equal(scores[:, 1:], matrix[chosen, 1:])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("repeats", [True, False])
def test_a_target_is_ranked_among_what_exists_and_may_be_recommended(seed: int, repeats: bool) -> None:
    existence, matrix = drawn(seed)
    rng = np.random.default_rng(seed)
    scores, targets = rng.random((WINDOWS, ITEMS + 1)), rng.integers(1, ITEMS + 2, WINDOWS)
    contexts = rng.integers(0, ITEMS + 3, (WINDOWS, 3))
    existence = replace(existence, repeats=repeats)
    found = ranks_of_existing(scores.copy(), targets, contexts, existence)
    held: list[list[int]] = [[] for _ in contexts] if repeats else contexts.tolist()
    for i, target in enumerate(targets.tolist()):
        expected = sorted({*range(1, ITEMS + 1)} & ({*held[i]} | {*(np.flatnonzero(~matrix[i]).tolist())}))
        allowed = existence.allowed(i, contexts[i])
        assert (np.flatnonzero(~allowed.mask()).tolist(), allowed.count) == ([0, *expected], ITEMS - len(expected))
        rows = rng.integers(0, ITEMS + 4, 8)
        np.testing.assert_array_equal(allowed.contains(rows), np.append(allowed.mask(), [False] * 4)[rows])
        if target > ITEMS or not matrix[i, target] or target in held[i]:
            assert found[i] == 0
            continue
        rivals = [r for r in np.flatnonzero(matrix[i]).tolist() if r not in held[i] and r != target]
        assert found[i] == 1 + sum(scores[i, r] > scores[i, target] for r in rivals)
