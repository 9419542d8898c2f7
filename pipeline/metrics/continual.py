"""Continual-learning metrics: pure functions of a results matrix.

R is (n + 1, n + 1): R[i, j] is the quality on held-out windows of slice j after slice i was learned. Slice 0 is
set-up: row 0 is the model before the stream, column 0 the held-out windows of set-up (S_new). Windows of column j are
never trained on. After Lopez-Paz and Ranzato (2017), Chaudhry et al. (2018) and Díaz-Rodríguez et al. (2018). Where
these compare with an untrained model, the model of set-up takes its place, since every strategy starts from it.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def adaptation(matrix: Matrix) -> float:
    """Quality on each slice of the stream just after it was learned: mean over i >= 1 of R[i, i]."""
    return float(np.diagonal(_checked(matrix))[1:].mean())


def retention(matrix: Matrix) -> float | None:
    """Quality on S_new at the end over that before the stream: R[n, 0] / R[0, 0]; None where R[0, 0] is 0."""
    before, after = _checked(matrix)[[0, -1], 0]
    return float(after / before) if before > 0.0 else None


def forgetting(matrix: Matrix) -> float:
    """Mean drop from the best quality ever reached on each slice, over all slices but the last.

        mean over j < n of (max over i with j <= i < n of R[i, j] - R[n, j])

    Negative where later slices helped earlier ones.
    """
    return forgetting_after(matrix, len(matrix) - 1)


def forgetting_after(matrix: Matrix, slices: int) -> float:
    """Forgetting after the first `slices` slices, at least one: `forgetting` of the leading part of R."""
    values = _checked(matrix)[: slices + 1, : slices + 1]
    if len(values) < 2:
        raise ValueError("forgetting is defined after at least one slice, not before the stream")
    last = len(values) - 1
    return float(np.mean([values[j:last, j].max() - values[last, j] for j in range(last)]))


def backward_transfer(matrix: Matrix) -> float:
    """Effect of later slices on earlier ones, after these were learned: mean over j < n of (R[n, j] - R[j, j])."""
    values = _checked(matrix)
    return float((values[-1] - np.diagonal(values))[:-1].mean())


def forward_transfer(matrix: Matrix) -> float | None:
    """Effect of earlier slices on later ones, before these were learned, against the model of set-up.

        mean over j >= 2 of (R[j - 1, j] - R[0, j])

    None with a single slice, which no other slice precedes.
    """
    values = _checked(matrix)
    gains = [values[j - 1, j] - values[0, j] for j in range(2, len(values))]
    return float(np.mean(gains)) if gains else None


def final(matrix: Matrix) -> float:
    """Final quality over all slices: mean over j of R[n, j]."""
    return float(_checked(matrix)[-1].mean())


MEASURES: Mapping[str, Callable[[Matrix], float | None]] = {
    "adaptation": adaptation,
    "retention": retention,
    "forgetting": forgetting,
    "backward_transfer": backward_transfer,
    "forward_transfer": forward_transfer,
    "final": final,
}
"""Measures by their names in `metrics.json`; a new one is one row here."""

LOWER_IS_BETTER = frozenset({"forgetting"})
"""Measures of which a low value is good."""


def _checked(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(f"a results matrix has a row and a column for set-up and each slice, not {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("a results matrix must be finite: every slice is scored after every slice")
    return matrix
