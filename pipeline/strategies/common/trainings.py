"""Cache of trainings that several strategies of a replay have in common.

`raie_k1`, every `ensemble` and their variants with decayed popularity train one adapter on the same windows, in the
same order, from the same weights. Equal inputs of a training give equal weights, byte for byte.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

Tensors = Mapping[str, NDArray[Any]]

SECONDS = "seconds"
"""Metadata of a file: what the training took."""


class Trainings:
    """Cache of the weights trained from one set-up; several processes may share its folder.

    Args:
        folder: empty at first, or not there; the caller deletes it.
        spent: clock of the caller, in seconds.
        spare: receives the seconds of each training that is not run again.
    """

    def __init__(self, folder: Path, spent: Callable[[], float], spare: Callable[[float], None]) -> None:
        self._folder = folder
        self._spent, self._spare = spent, spare

    def take(self, key: str, train: Callable[[], Tensors]) -> Tensors:
        """Result of `train`, or of its earlier run under the same key."""
        path = self._folder / f"{key}.safetensors"
        if path.exists():
            with safe_open(path, "np") as file:
                self._spare(float(file.metadata()[SECONDS]))
            return load_file(path)
        begun = self._spent()
        tensors = train()
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        save_file(dict(tensors), draft, {SECONDS: repr(self._spent() - begun)})
        draft.replace(path)
        return tensors


def key_of(settings: str, *tensors: Tensors) -> str:
    """Key of a training: the sha256 of its inputs.

    Args:
        settings: inputs that are not arrays.
        tensors: arrays by name.
    """
    digest = hashlib.sha256(settings.encode())
    for name, array in ((name, given[name]) for given in tensors for name in sorted(given)):
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
