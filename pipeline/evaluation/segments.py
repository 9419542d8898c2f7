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

FEW = 5
"""Last occurrence of an item since the stream began that counts as one of its early ones."""

Flags = NDArray[np.bool_]

SCHEMA = pa.schema(
    [
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("candidates", pa.int32(), nullable=False),
        pa.field("warm_target", pa.bool_(), nullable=False),
        pa.field("occurrence", pa.int32(), nullable=False),
        pa.field("known_user", pa.bool_(), nullable=False),
        pa.field("taste", pa.int32(), nullable=False),
        pa.field("edited", pa.bool_()),
    ]
)

_READ = ("seed", "slice", "position", "taste")


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments of the interactions of one slice, in slice order, with one row per seed where seeds differ.

    Attributes:
        event_ids: (n,) ids of the interactions.
        candidates: (n,) items that could have been recommended, the target included.
        occurrence: (n,) running number of the interaction among those with its item since the stream began, 1 for the
            first; 0 for a target that occurs in S.
        known_user: (n,) True for a user who occurs in S.
        setup_region: (seeds, n) the likeliest set-up region of the window under the frozen backbone.
        edited: (seeds, n) True for a region that `raie` published an edit of; None without `raie`.
    """

    event_ids: NDArray[np.str_]
    candidates: Ids
    occurrence: Ids
    known_user: Flags
    setup_region: Ids
    edited: Flags | None

    @property
    def warm_target(self) -> Flags:
        """(n,) True for a target that occurs in S."""
        known: Flags = self.occurrence == 0
        return known

    def splits(self) -> Mapping[str, Flags]:
        """(seeds, n) masks by name; those named `target_` are disjoint, and together hold every interaction."""
        of_all = {
            **_halves("warm_target", "cold_target", self.warm_target),
            **_by_occurrence(self.occurrence),
            **_halves("known_user", "new_user", self.known_user),
        }
        shape = self.setup_region.shape
        masks: dict[str, Flags] = {name: np.broadcast_to(mask, shape) for name, mask in of_all.items()}
        return masks if self.edited is None else masks | _halves("edited", "untouched", self.edited)

    def where(self, rows: Flags) -> "Segments":
        """Subset of the interactions.

        Args:
            rows: (n,) mask.
        """
        return Segments(
            self.event_ids[rows],
            self.candidates[rows],
            self.occurrence[rows],
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
        np.concatenate([part.occurrence for part in slices]),
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

    Only the columns that are read must be there: files of earlier versions lack others.

    Raises:
        DataError: columns are missing.
        OSError: the file cannot be read.
    """
    if not set(_READ) <= set(pq.read_schema(path).names):
        raise DataError(f"{path.name} must have the columns {', '.join(_READ)}")
    table = pq.read_table(path, columns=list(_READ))
    seeds, positions, setup_regions = (table.column(name).to_numpy() for name in ("seed", "position", "taste"))
    slices = np.array(table.column("slice").to_pylist(), dtype=np.str_)
    found = {}
    for seed, name in sorted(set(zip(seeds.tolist(), slices.tolist(), strict=True))):
        rows = np.flatnonzero((seeds == seed) & (slices == name))
        found[seed, name] = setup_regions[rows[np.argsort(positions[rows])]].astype(np.int64)
    return found


def _halves(yes: str, no: str, mask: Flags) -> dict[str, Flags]:
    return {yes: mask, no: ~mask}


def _by_occurrence(occurrence: Ids) -> dict[str, Flags]:
    return {
        "target_in_setup": occurrence == 0,
        "target_first": occurrence == 1,
        "target_2_to_5": (occurrence > 1) & (occurrence <= FEW),
        "target_later": occurrence > FEW,
    }


def _table(number: int, seed: int, name: str, segments: Segments) -> pa.Table:
    n = len(segments.event_ids)
    columns: dict[str, Any] = {
        "seed": [seed] * n,
        "slice": [name] * n,
        "position": np.arange(n),
        "event_id": segments.event_ids.tolist(),
        "candidates": segments.candidates,
        "warm_target": segments.warm_target,
        "occurrence": segments.occurrence,
        "known_user": segments.known_user,
        "taste": segments.setup_region[number],
        "edited": [None] * n if segments.edited is None else segments.edited[number],
    }
    return pa.Table.from_arrays([pa.array(columns[f.name], type=f.type) for f in SCHEMA], schema=SCHEMA)
