"""What is known of every scored interaction apart from what any strategy said: by what figures are split."""

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
    """Traits of the interactions of one slice, in slice order, a row a seed where seeds differ.

    Attributes:
        event_ids: (n,) which interactions.
        candidates: (n,) items that could have been recommended, the target included.
        warm_target: (n,) whether the target occurs in S.
        known_user: (n,) whether the user occurs in S.
        setup_region: (seeds, n) the likeliest set-up region of the window under the frozen backbone.
        edited: (seeds, n) whether `raie` published an edit that concerns that region; None where it did not run.
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
        """Keep some of the interactions.

        Args:
            rows: (n,) which ones.
        """
        return Segments(
            self.event_ids[rows],
            self.candidates[rows],
            self.warm_target[rows],
            self.known_user[rows],
            self.setup_region[:, rows],
            None if self.edited is None else self.edited[:, rows],
        )


def join(parts: Sequence[Segments]) -> Segments:
    """Traits of several slices, one after another."""
    edited = [part.edited for part in parts if part.edited is not None]
    return Segments(
        np.concatenate([part.event_ids for part in parts]),
        np.concatenate([part.candidates for part in parts]),
        np.concatenate([part.warm_target for part in parts]),
        np.concatenate([part.known_user for part in parts]),
        np.concatenate([part.setup_region for part in parts], axis=1),
        np.concatenate(edited, axis=1) if edited else None,
    )


def write_traits(segments: Mapping[str, Segments], seeds: Sequence[int], path: Path) -> None:
    """Write `segments.parquet`, sorted by seed and slice."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for number, seed in enumerate(seeds):
            for name in sorted(segments):
                writer.write_table(_table(number, seed, name, segments[name]))


def read_setup_regions(path: Path) -> dict[tuple[int, str], Ids]:
    """Read of `segments.parquet`, by seed and slice, the set-up region of each window, in slice order.

    Raises:
        DataError: the columns are others.
        OSError: the file cannot be read.
    """
    if not set(SCHEMA.names) <= set(pq.read_schema(path).names):
        raise DataError(f"{path.name} has not the columns {', '.join(SCHEMA.names)}")
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
