"""Columns of pyarrow as columns of a table."""

from typing import Any

import numpy as np
import pyarrow

from pipeline.datasets.readers.table import Coded, Column, Kind, Numbers, column_of


def column(cells: Any, kind: Kind) -> Column:
    """Return a column of a pyarrow table or batch; times become seconds since 1970.

    Python's datetime has neither nanoseconds nor years beyond 9999, so times are not converted to it.
    """
    types, type_ = pyarrow.types, cells.type
    if types.is_timestamp(type_) or types.is_date(type_):
        micros = cells.cast(pyarrow.timestamp("us"), safe=False).cast(pyarrow.int64())
        numbers = _numbers(micros)
        return Numbers(numbers.values / 1e6, numbers.empty)
    if kind != "text" and (types.is_integer(type_) or types.is_floating(type_)):
        return _numbers(cells)
    return _coded(cells)


def _numbers(cells: Any) -> Numbers:
    empty = _array(cells.is_null()).astype(np.bool_)
    values = _array(cells.fill_null(0) if empty.any() else cells).astype(np.float64)
    if empty.any():
        values[empty] = np.nan
    return Numbers(values, empty)


def _coded(cells: Any) -> Column:
    try:
        coded = cells if pyarrow.types.is_dictionary(cells.type) else cells.dictionary_encode()
    except pyarrow.ArrowNotImplementedError:
        # Lists and structs cannot be encoded.
        return column_of(cells.to_pylist(), "text")
    if isinstance(coded, pyarrow.ChunkedArray):
        coded = coded.unify_dictionaries().combine_chunks()
        coded = coded.chunk(0) if isinstance(coded, pyarrow.ChunkedArray) else coded
    known: list[object] = coded.dictionary.to_pylist()
    indices = coded.indices
    if indices.null_count:
        indices = indices.fill_null(len(known))
        known.append(None)
    return Coded(_array(indices), known)


def _array(cells: Any) -> Any:
    if isinstance(cells, pyarrow.ChunkedArray):
        cells = cells.combine_chunks()
        cells = cells.chunk(0) if isinstance(cells, pyarrow.ChunkedArray) else cells
    return cells.to_numpy(zero_copy_only=False)
