"""Parquet files as tables. No other module imports pyarrow."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from pipeline.datasets.readers.delimited import Table
from pipeline.errors import DataError


def parquet(path: Path) -> Table:
    """Read a Parquet file; its line numbers are row numbers, from 1.

    Raises:
        DataError: the file is not a Parquet file, or it is damaged.
    """
    try:
        content = pyarrow.parquet.read_table(path)
        content.validate(full=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error)[:200]}") from error
    return Table(path.name, tuple(content.column_names), _rows(content))


def _rows(content: "pyarrow.Table") -> Iterator[tuple[int, Sequence[object]]]:
    before = 0
    for batch in content.to_batches(max_chunksize=10_000):
        columns = [_cells(column) for column in batch.columns]
        yield from enumerate(zip(*columns, strict=True), start=before + 1)
        before += batch.num_rows


def _cells(column: "pyarrow.Array") -> list[object]:
    """Return the cells of a column, times as seconds since 1970.

    Python's datetime has neither nanoseconds nor years beyond 9999, so times are not converted to it.
    """
    types = pyarrow.types
    if types.is_timestamp(column.type) or types.is_date(column.type):
        seconds = column.cast(pyarrow.timestamp("us"), safe=False).cast(pyarrow.int64()).to_pylist()
        return [None if cell is None else cell / 1e6 for cell in seconds]
    cells: list[object] = column.to_pylist()
    return cells
