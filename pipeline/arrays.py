"""Array types and operations that packages share."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Vectors = NDArray[np.float32]
"""(n, d) vectors."""


def distinct(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k,) distinct ones of (n,) rows, ascending; for few rows in less time than `np.unique`."""
    ordered = np.sort(rows)
    is_first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]


def is_among(rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) True for rows that are among (m,) ascending others; for few of them in less time than `np.isin`."""
    if not len(others):
        return np.zeros(len(rows), dtype=np.bool_)
    found: NDArray[np.bool_] = others.take(np.searchsorted(others, rows), mode="clip") == rows
    return found
