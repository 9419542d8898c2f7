"""Comparison of incumbent and candidate on the same windows."""

import numpy as np
import pytest

from pipeline.editing.validation import ValidationResult


def test_the_error_is_of_the_paired_difference() -> None:
    before = np.array([1.0, 5.0, 9.0, 2.0])
    after = before - np.array([0.5, 1.5, 0.5, 1.5])
    result = ValidationResult.paired("log_rank", before, after)
    assert (result.metric, result.windows) == ("log_rank", 4)
    assert (result.before, result.after) == (before.mean(), after.mean())
    assert result.error == pytest.approx(np.sqrt(4 * 0.25 / 3) / 2)
    assert result.to_record() == {
        "metric": "log_rank",
        "windows": 4,
        "before": result.before,
        "after": result.after,
        "error": result.error,
    }


def test_one_window_shows_nothing() -> None:
    result = ValidationResult.paired("log_rank", np.array([9.0]), np.array([0.0]))
    assert result.error == float("inf")
    assert not result.better(0.5)


@pytest.mark.parametrize(("gain", "better", "no_worse"), [(0.3, True, True), (0.1, False, True), (-0.3, False, False)])
def test_better_and_no_worse_are_in_standard_errors(gain: float, better: bool, no_worse: bool) -> None:
    result = ValidationResult("surprise", 10, 1.0, 1.0 - gain, 0.1)
    assert result.better(2.0) is better
    assert result.no_worse(2.0) is no_worse


def test_equal_is_no_worse_and_not_better() -> None:
    result = ValidationResult("log_rank", 10, 1.0, 1.0, 0.1)
    assert not result.better(0.0)
    assert result.no_worse(0.0)
