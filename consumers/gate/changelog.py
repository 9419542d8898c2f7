"""The trend's changelog, topic `trend`: what a gate has counted, in parts every so often.

Between two of these snapshots the gate's own records in `gated` say what its trend learned from, so the newest
snapshot and the records after it give the trend of the last commit again, to the bit. A snapshot is written whenever
the revision has changed, so no record after it was gated under another one than it says.

    chunk … chunk          keys: INSTANCE/00000 …

Counts are mostly zero: only the others are written, as little-endian bytes, compressed.
"""

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import value_of
from pipeline.errors import LogError
from pipeline.events.versioning import versioned
from pipeline.online.ensemble import OnlineEnsemble
from pipeline.streams.interface import Log
from pipeline.streams.topics import TREND

CHUNK = 400_000
"""Characters of counts in a record: well within any broker's limit."""

FIRST_LOOK = 64
"""Offsets from the end that are looked at first; the look widens until it finds what it needs."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class KeptTrend:
    """A trend as it was written down.

    Attributes:
        arrays: see `OnlineEnsemble.to_arrays`.
        events: how many it has learned from.
        revision: offset of `regions` under which the records after it were gated.
        gated: offset of `gated` before which there is none of them.
    """

    arrays: Arrays
    events: int
    revision: int
    gated: int


def trend_outputs(gate: str, kept: KeptTrend, timestamp: float) -> list[Output]:
    """The records of a snapshot, to be written in one transaction."""
    raw = _pack(kept.arrays)
    text = base64.b85encode(zlib.compress(raw, 1)).decode("ascii")
    chunks = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)]
    shared = {
        "gate": gate,
        "events": kept.events,
        "revision": kept.revision,
        "gated": kept.gated,
        "chunks": len(chunks),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "shapes": {name: list(array.shape) for name, array in sorted(kept.arrays.items())},
    }
    return [
        Output(TREND, versioned({**shared, "chunk": i, "data": chunk}), f"{gate}/{i:05d}", timestamp, 0)
        for i, chunk in enumerate(chunks)
    ]


def read_trend(log: Log, gate: str) -> KeptTrend | None:
    """Read the newest snapshot of a gate; None where it has none.

    Raises:
        LogError: it is damaged.
    """
    end, look = log.end_offset(TREND, 0), FIRST_LOOK
    while True:
        start = max(0, end - look)
        mine = [v for r in log.read(TREND, 0, start, end) if (v := value_of(r))["gate"] == gate]
        if mine:
            newest = [v for v in mine if v["events"] == mine[-1]["events"] and v["revision"] == mine[-1]["revision"]]
            newest = newest[-mine[-1]["chunks"] :]
            if len(newest) == mine[-1]["chunks"]:
                return _kept(newest)
        if start == 0:
            if mine:
                raise _damaged(gate)
            return None
        look *= 4


def take_over(trending: OnlineEnsemble, gate: str, kept: KeptTrend) -> None:
    """Let a trend go on from a gate's snapshot.

    Raises:
        LogError: it does not fit; the trend is left as it was.
    """
    if _shapes(kept.arrays) != _shapes(trending.to_arrays()):
        raise LogError(
            f"the trend of gate {gate} in topic {TREND} is of another set-up, other settings of the trend or another "
            "version: give servers and gates the same, or start the gate under a new --instance, which counts from "
            "nothing"
        )
    trending.restore(kept.arrays)


def _kept(chunks: Sequence[Mapping[str, Any]]) -> KeptTrend:
    first = chunks[0]
    try:
        raw = zlib.decompress(base64.b85decode("".join(c["data"] for c in chunks)))
    except (ValueError, zlib.error):
        raw = b""
    if hashlib.sha256(raw).hexdigest() != first["sha256"]:
        raise _damaged(first["gate"])
    return KeptTrend(_unpack(raw, first["shapes"]), first["events"], first["revision"], first["gated"])


def _damaged(gate: str) -> LogError:
    return LogError(
        f"the trend of gate {gate} is damaged in topic {TREND}: its chunks do not give what was written; restore the "
        "log from a backup, or start the gate under a new --instance, which counts from nothing"
    )


def _shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _pack(arrays: Arrays) -> bytes:
    """Places and values of what is not zero, array by array."""
    parts = []
    for _, array in sorted(arrays.items()):
        flat = np.ravel(array).astype("<f8")
        places = np.flatnonzero(flat).astype("<i8")
        parts += [np.array([len(places)], dtype="<i8").tobytes(), places.tobytes(), flat[places].tobytes()]
    return b"".join(parts)


def _unpack(raw: bytes, shapes: Mapping[str, Sequence[int]]) -> dict[str, NDArray[Any]]:
    arrays, start = {}, 0
    for name, shape in sorted(shapes.items()):
        count = int(np.frombuffer(raw, "<i8", 1, start)[0])
        places = np.frombuffer(raw, "<i8", count, start + 8)
        flat = np.zeros(int(np.prod(shape)))
        flat[places] = np.frombuffer(raw, "<f8", count, start + 8 + 8 * count)
        arrays[name] = flat.reshape(shape)
        start += 8 + 16 * count
    return arrays
