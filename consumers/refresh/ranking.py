"""Weights of the second stage that go along with a fork: those of the newest snapshot of a gate before it."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from adapters_store import AdaptersStore
from consumers.gate.changelog import chunk_of, read_snapshot
from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import new_records
from pipeline.streams.interface import Log
from pipeline.streams.topics import TREND

FILE = "ranking.safetensors"

WEIGHTS = "network."
"""Front of the names of weights among the arrays of a snapshot; the others are counts."""


def newest_weights(log: Log, store: AdaptersStore) -> dict[str, NDArray[Any]]:
    """Read the weights of the newest snapshot; none where no gate has written one.

    Raises:
        LogError: it is damaged.
    """
    chunks = list(readable(new_records(log, TREND, log.start_offset(TREND, 0)), chunk_of, unreported))
    snapshot = read_snapshot(log, chunks[-1]["gate"], store.arrays) if chunks else None
    found = {} if snapshot is None else snapshot.arrays
    return {name: array for name, array in found.items() if name.startswith(WEIGHTS)}


def keep(weights: dict[str, NDArray[Any]], folder: Path) -> None:
    """Write weights into the folder of a preparation."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: array.copy() for name, array in weights.items()}, folder / FILE)


def kept(folder: Path) -> dict[str, NDArray[Any]]:
    """Read them back."""
    return dict(load_file(folder / FILE))
