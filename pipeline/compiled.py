"""Compilation of inner loops over few items, where a call of numpy for each costs more than the work."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call; the result is kept on disk where one can write.

    Additions keep their order, so that results are those of the same loop in Python, to the bit.
    """
    try:
        made = njit(cache=True)(function)
    except RuntimeError:
        # Neither beside the source nor in the user's cache can a file be written.
        made = njit(function)
    return cast(F, made)
