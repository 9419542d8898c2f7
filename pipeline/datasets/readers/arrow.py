"""Columns of pyarrow as columns of a table."""

from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute

from pipeline.datasets.readers.table import Coded, Column, Kind, Numbers, column_of

FORMS: tuple[tuple[str, str | None, Any], ...] = (
    (r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$", None, pyarrow.float64()),
    (
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?$",
        r"\s*(UTC|GMT|Z)$",
        pyarrow.timestamp("us"),
    ),
)
"""Plain texts of numbers and of times in UTC: pattern, ending that is left out, and type."""

MOST_ODD = 0.1
"""Share of the cells that may have another form."""


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
    parsed = _parsed(cells, kind) if kind != "text" and types.is_string(type_) else None
    return _coded(cells) if parsed is None else parsed


def _parsed(cells: Any, kind: Kind) -> Numbers | None:
    """Return the numbers of a column of texts, None where more than few are odd."""
    compute = pyarrow.compute
    cells = cells.combine_chunks() if isinstance(cells, pyarrow.ChunkedArray) else cells
    empty = compute.fill_null(compute.equal(cells, ""), True)
    for pattern, suffix, type_ in FORMS if kind == "time" else FORMS[:1]:
        texts = cells if suffix is None else compute.replace_substring_regex(cells, suffix, "")
        fits = _array(compute.fill_null(compute.match_substring_regex(texts, pattern), False)).astype(np.bool_)
        odd = np.flatnonzero(~fits & ~_array(empty).astype(np.bool_))
        if len(odd) <= MOST_ODD * len(fits) and fits.any():
            found = _cast(texts.filter(pyarrow.array(fits)), type_)
            if found is None:
                return None
            values = np.full(len(fits), np.nan)
            values[fits] = found
            rest = dict(zip(odd.tolist(), cells.take(pyarrow.array(odd)).to_pylist(), strict=True))
            return Numbers(values, _array(empty).astype(np.bool_), rest)
    return None


def _cast(texts: Any, type_: Any) -> Any:
    try:
        parsed = texts.cast(type_)
    except pyarrow.ArrowException:
        return None
    return _array(parsed.cast(pyarrow.int64())) / 1e6 if pyarrow.types.is_timestamp(type_) else _array(parsed)


def _numbers(cells: Any) -> Numbers:
    if not cells.null_count:
        return Numbers(_array(cells).astype(np.float64), np.zeros(len(cells), dtype=np.bool_))
    empty = _array(cells.is_null()).astype(np.bool_)
    values = _array(cells.fill_null(0)).astype(np.float64)
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
