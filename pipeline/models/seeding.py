"""Random seeds, random initial values and deterministic algorithms of torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWS = frozenset(
    {
        *("normal_", "uniform_", "trunc_normal_", "orthogonal_"),
        *("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
    }
)
"""Functions of torch that fill a tensor, their first argument, with random numbers; transformers has its own of these
names."""


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


class Undrawn(TorchFunctionMode):
    """Context in which modules are built without random initial values.

    Their weights hold what was in memory, and all have to be written before they are read. On Linux memory that was
    never written is not taken from the system either.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the tensor as it is where `func` would draw its numbers."""
        del types
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in DRAWS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)
