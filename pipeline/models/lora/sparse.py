"""Sparse matrices: sums over a few rows of a table for each row of a batch, as one product."""

import warnings

import torch
from torch import Tensor

with warnings.catch_warnings():
    # torch warns once per process that its compressed matrices may still change, which fails where warnings are errors.
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)
    torch.empty(1, 1).to_sparse_csr()


_CACHE_LINE = 16
"""Values of 4 bytes in a cache line."""


def whole_lines(width: int) -> int:
    """Padded width of a row of `width` values, so that every row starts at a cache line: products are faster."""
    return -(-width // _CACHE_LINE) * _CACHE_LINE


def compressed(counts: Tensor, columns: Tensor, values: Tensor, width: int) -> Tensor:
    """(n, width) sparse matrix; row i has the next `counts[i]` of the (m,) columns and values."""
    ends = counts.new_zeros(len(counts) + 1, dtype=torch.int32)
    torch.cumsum(counts, 0, dtype=torch.int32, out=ends[1:])
    return torch.sparse_csr_tensor(ends, columns.int(), values, (len(counts), width), check_invariants=False)
