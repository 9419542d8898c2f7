"""Trainings that several strategies of a replay ask for alike: run once, and taken over by the others.

`raie_k1`, every `ensemble` and their kin with a trend train one adapter on the same windows, in the same order, from
the same start. What comes of a training follows from what goes into it, byte for byte.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Tensors = Mapping[str, NDArray[Any]]


class Trainings:
    """What was trained so far from one set-up.

    Args:
        folder: an empty one, which is the caller's to delete.
        spent: seconds so far, the caller's clock.
        spare: told of the seconds that a training took which is not run again.
    """

    def __init__(self, folder: Path, spent: Callable[[], float], spare: Callable[[float], None]) -> None:
        self._folder = folder
        self._spent, self._spare = spent, spare
        self._seconds: dict[str, float] = {}

    def take(self, key: str, train: Callable[[], Tensors]) -> Tensors:
        """What `train` gives, or gave when it was asked for under the same key."""
        path = self._folder / f"{key}.safetensors"
        if key in self._seconds:
            self._spare(self._seconds[key])
            return load_file(path)
        begun = self._spent()
        tensors = train()
        self._seconds[key] = self._spent() - begun
        save_file(dict(tensors), path)
        return tensors


def key_of(settings: str, *tensors: Tensors) -> str:
    """Names a training by all that goes into it.

    Args:
        settings: everything that is no array.
        tensors: arrays by name.
    """
    digest = hashlib.sha256(settings.encode())
    for name, array in ((name, given[name]) for given in tensors for name in sorted(given)):
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
