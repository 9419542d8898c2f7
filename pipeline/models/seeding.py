"""Random seeds and deterministic algorithms of torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seed torch inside the context; the CPU's random state is restored afterwards.

    Yields:
        A generator of the CPU: what it draws is the same whatever device computes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def make_deterministic() -> None:
    """Restrict torch to deterministic algorithms; an operation without one raises an error.

    On CUDA the environment variable CUBLAS_WORKSPACE_CONFIG must be `:4096:8`, as `raie` sets it.
    """
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is overwritten anyway takes a twentieth of the training time and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
