"""Changelog of origin prior and second stage, topic `trend`: snapshots of a gate's counts and weights.

Between two snapshots the gate's own records in `gated` hold the inputs of both, so the newest snapshot and the records
after it restore the state of the last commit bit for bit. A snapshot is written whenever the revision has
changed, so every record after it was scored under the revision that the snapshot names.

    chunk … chunk          keys: INSTANCE/00000 …

A record under another key is of another program and skipped. One under a key of the gate that cannot be read is
damaged, or hides what the gate wrote: as its newest record it is an error, as the gate would count from an older state.

A state of more than `LARGEST_INLINE` bytes is a file of the adapters store, which the only record of its snapshot names
(`file`); it also names the files of earlier snapshots that are still there (`superseded`).

Counts are mostly zero: the others are written, with their positions, as little-endian bytes. Integers, the rows of the
newest events, are written as they are.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters_store import ArrayFile, ArrayFiles
from adapters_store.errors import StoreError
from consumers.runtime.malformed import OnSkipped, unreported
from consumers.runtime.snapshots import decode, encode, search_backwards
from consumers.runtime.stage import Output
from pipeline.errors import LogError
from pipeline.events.versioning import versioned
from pipeline.events.windows import Ids
from pipeline.recommend.online_state import OnlineState
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import TREND

Arrays = Mapping[str, NDArray[Any]]

LARGEST_INLINE = 400_000
"""Most bytes of a state, before compression, that stay in the log: they fit into a record or two."""

STATE = "state"
"""Array of a file that holds the bytes of a state."""

Chunk = Mapping[str, Any]
"""Value of a record of a snapshot."""

_FIELDS = {
    **dict.fromkeys(("gate", "sha256", "data"), str),
    **dict.fromkeys(("events", "revision", "gated", "chunks", "chunk"), int),
    "shapes": Mapping,
}
"""Fields of every chunk, and their types."""


@dataclass(frozen=True)
class OnlineSnapshot:
    """State of origin prior and second stage at one event.

    Attributes:
        arrays: see `OnlineState.to_arrays`.
        events: number of events learned from.
        next_revision: first offset of `regions` not in force for the records after it (`revision` in the record).
        gated: offset of `gated` at or after which these records are.
        items: ids of the items in the gate's catalogue rows beyond those of set-up, "" for free rows.
        untaken: ids of items that were not taken since they got their row.
        now: latest event time of the gate's catalogue, seconds.
        next_item: first offset of `items` that was not read.
        files: sha256 of the snapshot's file, if it has one, and then of those of earlier snapshots that are still
            there.
    """

    arrays: Arrays
    events: int
    next_revision: int
    gated: int
    items: Sequence[str] = ()
    untaken: Sequence[str] = ()
    now: float = 0.0
    next_item: int = 0
    files: Sequence[str] = ()


class StateFile(NamedTuple):
    """File of a snapshot, and the sha256 of those of earlier ones that are still there."""

    file: ArrayFile
    superseded: Sequence[str]


def snapshot_outputs(
    gate: str, snapshot: OnlineSnapshot, timestamp: float, replace: Callable[[bytes], StateFile] | None = None
) -> list[Output]:
    """The records of a snapshot, to be written in one transaction.

    Args:
        gate: instance that writes it.
        snapshot: what is written; its `files` are not.
        timestamp: event time of the records, in seconds.
        replace: writes a large state into a file, see `SnapshotFiles.replace`; None keeps any state in the log.

    Raises:
        StoreError: the file cannot be written.
    """
    names = json.dumps([list(snapshot.items), list(snapshot.untaken)]).encode()
    state = _pack(snapshot.arrays) + names
    shared = {
        "gate": gate,
        "events": snapshot.events,
        "revision": snapshot.next_revision,
        "gated": snapshot.gated,
        "now": snapshot.now,
        "next_item": snapshot.next_item,
        "shapes": {name: list(array.shape) for name, array in sorted(snapshot.arrays.items())},
        "integers": sorted(name for name, array in snapshot.arrays.items() if _is_integer(array)),
        "names": len(names),
    }
    if replace is not None and len(state) > LARGEST_INLINE:
        file, superseded = replace(state)
        named = {"sha256": file.sha256, "file": asdict(file), "superseded": list(superseded)}
        return [_output(shared | named, 0, [""], timestamp)]
    encoded = encode(state)
    shared["sha256"] = encoded.sha256
    return [_output(shared, i, encoded.chunks, timestamp) for i in range(len(encoded.chunks))]


def _output(shared: Mapping[str, Any], number: int, chunks: Sequence[str], timestamp: float) -> Output:
    value = {**shared, "chunks": len(chunks), "chunk": number, "data": chunks[number]}
    return Output(TREND, versioned(value), f"{shared['gate']}/{number:05d}", timestamp, 0)


def read_snapshot(log: Log, gate: str, files: ArrayFiles, on_skipped: OnSkipped = unreported) -> OnlineSnapshot | None:
    """Read the newest snapshot of a gate; None where it has none.

    Args:
        log: has the topic.
        gate: instance that wrote it.
        files: array files of the adapters store.
        on_skipped: called with each record of another program, whose key is none of this gate.

    Raises:
        LogError: it is damaged.
    """
    refused: tuple[str, StoreError] | None = None
    while True:
        end = log.end_offset(TREND, 0)
        chunks = search_backwards(log, TREND, end, partial(_part, gate), partial(_newest, gate), on_skipped)
        if chunks is None:
            return None
        sha256 = chunks[0]["sha256"]
        if refused is not None and refused[0] == sha256:
            raise _damaged(gate, f"; {refused[1]}") from refused[1]
        try:
            return _decoded(chunks, files)
        except StoreError as error:
            # A gate that has written newer ones meanwhile may have removed it.
            refused = sha256, error


EARLIER = "theta"
"""Array of snapshots of the versions that mixed probabilities instead of ranking candidates."""


def is_of_mixture(snapshot: OnlineSnapshot) -> bool:
    """True for a snapshot of a version without second stage."""
    return EARLIER in snapshot.arrays


def fits(snapshot: OnlineSnapshot, online: OnlineState) -> bool:
    """True for a snapshot of the same set-up and settings, however many items it has."""
    return _shapes(snapshot.arrays) == _shapes(online.to_arrays())


def restore_online(online: OnlineState, gate: str, snapshot: OnlineSnapshot, rows: Ids) -> None:
    """Set origin prior and second stage to the state of a gate's snapshot.

    Of a version without second stage it has the origin prior and the number of events: counts and network stay as they
    started.

    Args:
        online: of this process; started from set-up where the snapshot is of a version without second stage.
        gate: instance that wrote the snapshot.
        snapshot: its counts are over the items of set-up, then `items`.
        rows: (k + 1,) catalogue row here of each row there, padding included, 0 for an item that is not known here.

    Raises:
        LogError: the shapes differ; the state is unchanged.
    """
    arrays = snapshot.arrays
    if is_of_mixture(snapshot):
        online.origin_prior.restore(arrays)
        online.second_stage.events = snapshot.events
        return
    if not fits(snapshot, online) or len(rows) != arrays[_COUNTS].shape[2]:
        raise LogError(
            f"the trend of gate {gate} in topic {TREND} is of another set-up, other settings of the trend or another "
            "version: give servers and gates the same, or start the gate under a new --instance, which learns from "
            "set-up on, and counts the newest events of the log"
        )
    online.restore(arrays, rows)


def chunk_of(record: Record) -> Chunk:
    """Chunk in a record of `trend`.

    Raises:
        ValueError: it is a record of another program, or damaged.
    """
    value = record.value or {}
    has_fields = all(isinstance(value.get(name), kind) for name, kind in _FIELDS.items())
    if not has_fields or record.key != f"{value['gate']}/{value['chunk']:05d}":
        raise ValueError("it is no chunk of a snapshot under the key of its gate")
    if "file" in value:
        _files_of(value)
    return value


def _files_of(chunk: Chunk) -> StateFile:
    """Files that a record names.

    Raises:
        ValueError: it is a record of another program, or damaged.
    """
    try:
        file = ArrayFile(chunk["file"]["sha256"], chunk["file"]["bytes"])
        superseded = [ArrayFile(sha256, 1).sha256 for sha256 in chunk["superseded"]]
    except (LookupError, TypeError) as error:
        raise ValueError(f"it names no file of a snapshot ({type(error).__name__}: {error})") from error
    return StateFile(file, superseded)


def _part(gate: str, record: Record) -> Chunk | None:
    """Chunk in a record; None for one under a key of this gate that cannot be read."""
    try:
        return chunk_of(record)
    except ValueError:
        if record.value is not None and (record.key or "").startswith(f"{gate}/"):
            return None
        raise


def _newest(gate: str, parts: Sequence[Chunk | None], everything: bool) -> Sequence[Chunk] | None:
    """Chunks of a gate's newest snapshot; None where it has none, or earlier records are needed."""
    values = [part for part in parts if part is None or part["gate"] == gate]
    if not values:
        return None
    last = values[-1]
    if last is None:
        raise _damaged(gate)
    newest = [v for v in values if v and (v["events"], v["revision"]) == (last["events"], last["revision"])]
    newest = newest[-last["chunks"] :]
    if len(newest) == last["chunks"]:
        return newest
    if everything:
        raise _damaged(gate)
    return None


def _decoded(chunks: Sequence[Chunk], files: ArrayFiles) -> OnlineSnapshot:
    first, named = chunks[0], tuple[str, ...]()
    if "file" in first:
        file, superseded = _files_of(first)
        raw: bytes | None = files.read(file)[STATE].tobytes()
        named = (file.sha256, *superseded)
    else:
        raw = decode((c["data"] for c in chunks), first["sha256"])
    if raw is None:
        raise _damaged(first["gate"])
    # Snapshots of schema 1 name no items: their rows are those of set-up.
    split = len(raw) - first.get("names", 0)
    items, untaken = json.loads(raw[split:]) if split < len(raw) else ([], [])
    place = (first["events"], first["revision"], first["gated"])
    arrays = _unpack(raw[:split], first["shapes"], first.get("integers", ()))
    return OnlineSnapshot(arrays, *place, items, untaken, first.get("now", 0.0), first.get("next_item", 0), named)


def _damaged(gate: str, cause: str = "") -> LogError:
    return LogError(
        f"the trend of gate {gate} is damaged in topic {TREND}: its chunks do not give what was written; restore the "
        f"log from a backup, or start the gate under a new --instance, which learns from set-up on{cause}"
    )


_COUNTS = "popularity.counts"
"""Array that has a column for each item, as those of `recency` have."""


def _shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """Shapes of arrays, but for the number of items."""
    return {
        name: array.shape[:2] if name == _COUNTS else array.shape
        for name, array in arrays.items()
        if not name.startswith("recency.")
    }


def _is_integer(array: NDArray[Any]) -> bool:
    return array.ndim > 0 and np.issubdtype(array.dtype, np.integer)


def _pack(arrays: Arrays) -> bytes:
    """Number, positions and values of the entries that are not zero, array by array in order of names."""
    parts = []
    for _, array in sorted(arrays.items()):
        if _is_integer(array):
            parts.append(array.astype("<i4").tobytes())
            continue
        flat = np.ravel(array).astype("<f8")
        positions = np.flatnonzero(flat).astype("<i8")
        parts += [np.array([len(positions)], dtype="<i8").tobytes(), positions.tobytes(), flat[positions].tobytes()]
    return b"".join(parts)


def _unpack(raw: bytes, shapes: Mapping[str, Sequence[int]], integers: Collection[str]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for name, shape in sorted(shapes.items()):
        size = int(np.prod(shape))
        if name in integers:
            arrays[name] = np.frombuffer(raw, "<i4", size, start).astype(np.int64).reshape(shape)
            start += 4 * size
            continue
        count = int(np.frombuffer(raw, "<i8", 1, start)[0])
        positions = np.frombuffer(raw, "<i8", count, start + 8)
        flat = np.zeros(size)
        flat[positions] = np.frombuffer(raw, "<f8", count, start + 8 + 8 * count)
        arrays[name] = flat.reshape(shape)
        start += 8 + 16 * count
    return arrays
