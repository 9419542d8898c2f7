"""TODO docstring."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Everything random inside follows from the seed; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def make_deterministic() -> None:
    """Let torch refuse whatever could answer differently the next time."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    # To fill memory that is about to be written anyway takes a twentieth of the training and changes nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
