"""Continual measures: by hand, and by what they must obey."""

import numpy as np
import pytest

from pipeline.metrics.continual import (
    MEASURES,
    adaptation,
    backward_transfer,
    final,
    forgetting,
    forgetting_after,
    forward_transfer,
    retention,
)

BY_HAND = np.array(
    [
        [0.50, 0.10, 0.20],
        [0.40, 0.30, 0.25],
        [0.45, 0.20, 0.60],
    ]
)


def random_matrix(seed: int, slices: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((slices + 1, slices + 1))


def test_measures_by_hand() -> None:
    assert adaptation(BY_HAND) == pytest.approx((0.3 + 0.6) / 2)
    assert retention(BY_HAND) == pytest.approx(0.45 / 0.5)
    assert forgetting(BY_HAND) == pytest.approx(((0.5 - 0.45) + (0.3 - 0.2)) / 2)
    assert backward_transfer(BY_HAND) == pytest.approx(((0.45 - 0.5) + (0.2 - 0.3)) / 2)
    assert forward_transfer(BY_HAND) == pytest.approx(0.25 - 0.2)
    assert final(BY_HAND) == pytest.approx((0.45 + 0.2 + 0.6) / 3)
    assert forgetting_after(BY_HAND, 1) == pytest.approx(0.5 - 0.4)


def test_a_model_that_never_learns_forgets_and_transfers_nothing() -> None:
    static = np.tile(np.random.default_rng(0).random(5), (5, 1))
    assert retention(static) == pytest.approx(1.0)
    assert forgetting(static) == backward_transfer(static) == forward_transfer(static) == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(20))
def test_forgetting_is_at_least_what_backward_transfer_lost(seed: int) -> None:
    matrix = random_matrix(seed)
    assert forgetting(matrix) >= -backward_transfer(matrix) - 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_forgetting_after_every_slice_is_that_of_the_stream_so_far(seed: int) -> None:
    matrix = random_matrix(seed)
    assert forgetting_after(matrix, 5) == forgetting(matrix)
    for slices in range(1, 6):
        leading = matrix[: slices + 1, : slices + 1]
        assert forgetting_after(matrix, slices) == forgetting(leading)


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_later_than_a_measure_looks_does_not_move_it(seed: int) -> None:
    matrix = random_matrix(seed)
    above = matrix + np.triu(np.ones_like(matrix), 2)
    for measure in (adaptation, retention, forgetting, backward_transfer, final):
        assert measure(above) == measure(matrix)
    assert forward_transfer(above) != forward_transfer(matrix)


def test_what_cannot_be_measured_is_none_and_what_is_no_matrix_is_refused() -> None:
    assert forward_transfer(BY_HAND[:2, :2]) is None
    assert retention(np.zeros((2, 2))) is None
    for wrong in (np.zeros((2, 3)), np.zeros((1, 1)), np.full((2, 2), np.nan)):
        for measure in MEASURES.values():
            with pytest.raises(ValueError, match="results matrix"):
                measure(wrong)
