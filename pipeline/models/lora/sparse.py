"""Sums over some rows of a table for each row of a batch: a product with a matrix that has few numbers in a row."""

import warnings

import torch
from torch import Tensor

with warnings.catch_warnings():
    # torch says once in a process that its compressed matrices may still change; where warnings are errors, it ends.
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)
    torch.empty(1, 1).to_sparse_csr()


_CACHE_LINE = 16
"""Numbers of 4 bytes."""


def whole_lines(width: int) -> int:
    """Numbers that a row of `width` takes so that the next one starts at a cache line too: all products are faster."""
    return -(-width // _CACHE_LINE) * _CACHE_LINE


def compressed(counts: Tensor, columns: Tensor, values: Tensor, width: int) -> Tensor:
    """(n, width) matrix of which row i has the next `counts[i]` of the (m,) columns, and the values there."""
    ends = torch.zeros(len(counts) + 1, dtype=torch.int32)
    torch.cumsum(counts, 0, dtype=torch.int32, out=ends[1:])
    return torch.sparse_csr_tensor(ends, columns.int(), values, (len(counts), width), check_invariants=False)
