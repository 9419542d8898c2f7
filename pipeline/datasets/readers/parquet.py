"""Parquet files as tables."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from pipeline.datasets.readers.arrow import column
from pipeline.datasets.readers.table import Chunk, Kind, Table
from pipeline.errors import DataError

ROWS = 500_000
"""Rows of a chunk."""


def parquet_table(path: Path) -> Table:
    """Open a Parquet file; its line numbers are row numbers, from 1.

    Raises:
        DataError: the file is not a Parquet file, or it is damaged.
    """
    try:
        columns = tuple(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    return Table(path.name, columns, partial(_read, path))


def _read(path: Path, kinds: Mapping[int, Kind]) -> Iterator[Chunk]:
    line = 1
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for batch in file.iter_batches(ROWS, columns=[names[place] for place in kinds]):
                batch.validate(full=True)
                yield _chunk(batch, [names[place] for place in kinds], kinds, line)
                line += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _chunk(batch: Any, names: list[str], kinds: Mapping[int, Kind], line: int) -> Chunk:
    cells = {place: column(batch.column(name), kind) for name, (place, kind) in zip(names, kinds.items(), strict=True)}
    return Chunk(cells, range(line, line + batch.num_rows))


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as Parquet: {str(error)[:200]}")
