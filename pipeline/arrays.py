"""Array types and operations that packages share."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def distinct(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k,) distinct ones of (n,) rows, ascending; for few rows in less time than `np.unique`."""
    ordered = np.sort(rows)
    found: NDArray[np.int64] = ordered[np.diff(ordered, prepend=-1) != 0]
    return found


def is_among(rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) True for rows, none below 0, that are among (m,) ascending others; for few in less time than `np.isin`."""
    found: NDArray[np.bool_] = np.append(others, -1)[np.searchsorted(others, rows)] == rows
    return found
