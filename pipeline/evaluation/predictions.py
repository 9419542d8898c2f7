"""Ranks of every scored interaction of a run, the source of all its figures.

A block holds the ranks of one strategy and seed on one slice. In the file, blocks are sorted by strategy, seed and
slice, so that the order of the strategies does not change the bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import DataError

FILE_NAME = "predictions.parquet"

SLICES = ("S", "S_new", "F", "T")
"""Slices of the predictions, in the order of files and tables."""

NO_REGION = -1
"""Region of an interaction without one, in memory; null in the file."""

SCHEMA = pa.schema(
    [
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("region_id", pa.int32()),
        pa.field("confidence", pa.float32()),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("cold", pa.bool_(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("timestamp", pa.float64(), nullable=False),
    ]
)

Objects = NDArray[np.object_]
Number = TypeVar("Number", np.int32, np.float32)


class Key(NamedTuple):
    """Key of a block."""

    strategy: str
    seed: int
    slice: str


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Predictions of one strategy and seed on one slice, one row per interaction, in slice order.

    Attributes:
        event_id: (n,) strings.
        user_id: (n,) strings.
        region_id: (n,) int32, top region, `NO_REGION` without one.
        confidence: (n,) float32 gate confidence in [0, 1], NaN without one.
        rank: (n,) int32 rank of the target, 1 = top, 0 = not scored.
        cold: (n,) bool, True for a user without history.
        position: (n,) int32 index of the interaction in its slice's order, each once.
        timestamp: (n,) float64 seconds since 1970 UTC.
    """

    event_id: Objects
    user_id: Objects
    region_id: NDArray[np.int32]
    confidence: NDArray[np.float32]
    rank: NDArray[np.int32]
    cold: NDArray[np.bool_]
    position: NDArray[np.int32]
    timestamp: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rank)

    def by_position(self) -> "Block":
        """Rows in the order of the slice."""
        order = np.argsort(self.position)
        return Block(**{field.name: getattr(self, field.name)[order] for field in fields(self)})


class Predictions:
    """Blocks of a run in memory."""

    def __init__(self) -> None:
        self._blocks: dict[Key, Block] = {}

    def append(
        self,
        strategy: str,
        seed: int,
        slice_name: str,
        *,
        event_id: ArrayLike,
        user_id: ArrayLike,
        rank: ArrayLike,
        cold: ArrayLike,
        position: ArrayLike,
        timestamp: ArrayLike,
        region_id: ArrayLike | None = None,
        confidence: ArrayLike | None = None,
    ) -> None:
        """Add the block of one strategy, seed and slice.

        Args:
            strategy: name of the strategy.
            seed: of the run.
            slice_name: one of `SLICES`.
            event_id: (n,) interactions.
            user_id: (n,) their users.
            rank: (n,) rank of the target, 1 = top, 0 = not scored.
            cold: (n,) True for a user without history.
            position: (n,) index of the interaction in its slice's order, each once.
            timestamp: (n,) seconds since 1970 UTC.
            region_id: (n,) regions, negative for none; None for a strategy without regions.
            confidence: (n,) gate confidences, NaN for none; None for a strategy without a gate.

        Raises:
            DataError: the slice is unknown, the block exists, columns differ in length, a rank is negative, or a
                position is negative or occurs twice.
        """
        key = Key(strategy, int(seed), slice_name)
        if slice_name not in SLICES:
            raise DataError(f"unknown slice {slice_name!r}; the slices are {', '.join(SLICES)}")
        if key in self._blocks:
            raise DataError(f"{_named(key)} exists already; append each block once")
        ranks = np.asarray(rank, dtype=np.int32)
        block = Block(
            event_id=np.asarray(event_id, dtype=object),
            user_id=np.asarray(user_id, dtype=object),
            region_id=_or_constant(region_id, NO_REGION, len(ranks), np.int32),
            confidence=_or_constant(confidence, np.nan, len(ranks), np.float32),
            rank=ranks,
            cold=np.asarray(cold, dtype=np.bool_),
            position=np.asarray(position, dtype=np.int32),
            timestamp=np.asarray(timestamp, dtype=np.float64),
        )
        _check(key, block)
        self._blocks[key] = block

    def get(self, strategy: str, seed: int, slice_name: str) -> Block | None:
        """Block of a strategy, seed and slice, or None."""
        return self._blocks.get(Key(strategy, seed, slice_name))

    def __iter__(self) -> Iterator[tuple[Key, Block]]:
        """Iterate over the blocks in the order of the file: by strategy, seed, slice."""
        order = sorted(self._blocks, key=lambda key: (key.strategy, key.seed, SLICES.index(key.slice)))
        return ((key, self._blocks[key]) for key in order)

    def __len__(self) -> int:
        return sum(len(block) for block in self._blocks.values())

    @property
    def strategies(self) -> list[str]:
        """Names of all strategies, sorted."""
        return sorted({key.strategy for key in self._blocks})

    @property
    def seeds(self) -> list[int]:
        """All seeds, sorted."""
        return sorted({key.seed for key in self._blocks})


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write `predictions.parquet`; equal predictions give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for key, block in predictions:
            writer.write_table(_table(key, block))


def read_predictions(path: Path) -> Predictions:
    """Read the predictions that `write_predictions` wrote.

    Raises:
        DataError: columns are missing or unknown, or a block is invalid.
        OSError: the file cannot be read.
    """
    strings = [field.name for field in SCHEMA if field.type == pa.string()]
    table = pq.read_table(path, read_dictionary=strings)
    if table.column_names != SCHEMA.names:
        raise DataError(f"{path.name} has the columns {table.column_names}, not {SCHEMA.names}")
    columns = {name: _numpy(table.column(name)) for name in SCHEMA.names}
    predictions = Predictions()
    for rows in _runs(columns["strategy"], columns["seed"], columns["slice"]):
        strategy, seed, slice_name = (columns[name][rows.start] for name in Key._fields)
        block = {field.name: columns[field.name][rows] for field in fields(Block)}
        predictions.append(strategy, seed, slice_name, **block)
    return predictions


def _or_constant(values: ArrayLike | None, constant: float, length: int, dtype: type[Number]) -> NDArray[Number]:
    if values is None:
        return np.full(length, constant, dtype=dtype)
    return np.asarray(values).astype(dtype)


def _check(key: Key, block: Block) -> None:
    for field in fields(Block):
        shape = getattr(block, field.name).shape
        if shape != (len(block),):
            raise DataError(f"{field.name} of {_named(key)} has shape {shape}, expected {len(block)} values")
    if len(block) and block.rank.min() < 0:
        raise DataError(f"{_named(key)} has a negative rank; 1 is the top, 0 means not scored")
    if len(block) and (block.position.min() < 0 or len(np.unique(block.position)) < len(block)):
        raise DataError(f"{_named(key)} must have each position once, from 0")


def _named(key: Key) -> str:
    return f"the block of {key.strategy}, seed {key.seed}, slice {key.slice}"


def _table(key: Key, block: Block) -> pa.Table:
    columns: dict[str, Any] = {field.name: getattr(block, field.name) for field in fields(Block)}
    columns |= {name: [value] * len(block) for name, value in key._asdict().items()}
    masks = {"region_id": block.region_id < 0, "confidence": np.isnan(block.confidence)}
    arrays = [pa.array(columns[field.name], type=field.type, mask=masks.get(field.name)) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Column to array; equal strings share one object, which saves memory."""
    if pa.types.is_dictionary(column.type):
        array = column.unify_dictionaries().combine_chunks()
        values = array.dictionary.to_numpy(zero_copy_only=False)
        return np.asarray(values[array.indices.to_numpy()], dtype=object)
    if column.null_count:
        column = column.fill_null(NO_REGION if pa.types.is_integer(column.type) else np.nan)
    return np.asarray(column.to_numpy())


def _runs(*columns: NDArray[Any]) -> Iterator[slice]:
    """Slices of consecutive rows with equal values in all columns."""
    changed = np.zeros(max(len(columns[0]) - 1, 0), dtype=bool)
    for column in columns:
        changed |= column[1:] != column[:-1]
    edges = [0, *(np.flatnonzero(changed) + 1).tolist(), len(columns[0])]
    return (slice(start, stop) for start, stop in pairwise(edges) if stop > start)
