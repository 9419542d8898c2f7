"""Segments of interactions, by which figures are split: target, user, and set-up region."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.events.windows import Ids

FILE_NAME = "traits.parquet"
"""File of the segments in a run folder."""

Flags = NDArray[np.bool_]

SCHEMA = pa.schema(
    [
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("candidates", pa.int32(), nullable=False),
        pa.field("warm_target", pa.bool_(), nullable=False),
        pa.field("known_user", pa.bool_(), nullable=False),
        pa.field("taste", pa.int32(), nullable=False),
        pa.field("edited", pa.bool_()),
    ]
)


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments of the interactions of one slice, in slice order, with one row per seed where seeds differ.

    Attributes:
        event_ids: (n,) ids of the interactions.
        candidates: (n,) items that could have been recommended, the target included.
        warm_target: (n,) True for a target that occurs in S.
        known_user: (n,) True for a user who occurs in S.
        setup_region: (seeds, n) the likeliest set-up region of the window under the frozen backbone.
        edited: (seeds, n) True for a region that `raie` published an edit of; None without `raie`.
    """

    event_ids: NDArray[np.str_]
    candidates: Ids
    warm_target: Flags
    known_user: Flags
    setup_region: Ids
    edited: Flags | None

    def splits(self) -> Mapping[str, Flags]:
        """(seeds, n) masks by name."""
        seeds = len(self.setup_region)
        halves = [("warm_target", "cold_target", self.warm_target), ("known_user", "new_user", self.known_user)]
        pairs = [(yes, no, np.broadcast_to(mask, (seeds, len(mask)))) for yes, no, mask in halves]
        if self.edited is not None:
            pairs.append(("edited", "untouched", self.edited))
        return {name: half for yes, no, mask in pairs for name, half in ((yes, mask), (no, ~mask))}

    def where(self, rows: Flags) -> "Segments":
        """Subset of the interactions.

        Args:
            rows: (n,) mask.
        """
        return Segments(
            self.event_ids[rows],
            self.candidates[rows],
            self.warm_target[rows],
            self.known_user[rows],
            self.setup_region[:, rows],
            None if self.edited is None else self.edited[:, rows],
        )


def join(slices: Sequence[Segments]) -> Segments:
    """Concatenated segments of several slices."""
    edited = [part.edited for part in slices if part.edited is not None]
    return Segments(
        np.concatenate([part.event_ids for part in slices]),
        np.concatenate([part.candidates for part in slices]),
        np.concatenate([part.warm_target for part in slices]),
        np.concatenate([part.known_user for part in slices]),
        np.concatenate([part.setup_region for part in slices], axis=1),
        np.concatenate(edited, axis=1) if edited else None,
    )


def write_segments(segments: Mapping[str, Segments], seeds: Sequence[int], path: Path) -> None:
    """Write `traits.parquet`, sorted by seed and slice."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for number, seed in enumerate(seeds):
            for name in sorted(segments):
                writer.write_table(_table(number, seed, name, segments[name]))


def read_setup_regions(path: Path) -> dict[tuple[int, str], Ids]:
    """Set-up region of each window in `traits.parquet`, by seed and slice, in slice order.

    Raises:
        DataError: columns are missing.
        OSError: the file cannot be read.
    """
    if not set(SCHEMA.names) <= set(pq.read_schema(path).names):
        raise DataError(f"{path.name} must have the columns {', '.join(SCHEMA.names)}")
    table = pq.read_table(path, columns=["seed", "slice", "position", "taste"])
    seeds, positions, setup_regions = (table.column(name).to_numpy() for name in ("seed", "position", "taste"))
    slices = np.array(table.column("slice").to_pylist(), dtype=np.str_)
    found = {}
    for seed, name in sorted(set(zip(seeds.tolist(), slices.tolist(), strict=True))):
        rows = np.flatnonzero((seeds == seed) & (slices == name))
        found[seed, name] = setup_regions[rows[np.argsort(positions[rows])]].astype(np.int64)
    return found


def _table(number: int, seed: int, name: str, segments: Segments) -> pa.Table:
    n = len(segments.event_ids)
    columns: dict[str, Any] = {
        "seed": [seed] * n,
        "slice": [name] * n,
        "position": np.arange(n),
        "event_id": segments.event_ids.tolist(),
        "candidates": segments.candidates,
        "warm_target": segments.warm_target,
        "known_user": segments.known_user,
        "taste": segments.setup_region[number],
        "edited": [None] * n if segments.edited is None else segments.edited[number],
    }
    return pa.Table.from_arrays([pa.array(columns[f.name], type=f.type) for f in SCHEMA], schema=SCHEMA)
