"""Tables: named columns, read as chunks of arrays. Every file format becomes one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow
from numpy.typing import NDArray

from pipeline.errors import BadEvent

Kind = Literal["text", "number", "time"]
"""Use of a column, so that a reader can parse numbers and times while it reads."""


@dataclass(frozen=True)
class Coded:
    """A column of n cells with few different ones.

    Attributes:
        codes: (n,) places in `cells`.
        cells: the different cells, as Python objects.
    """

    codes: NDArray[Any]
    cells: Sequence[object]

    def rows(self) -> list[object]:
        """Return the n cells."""
        return [self.cells[code] for code in self.codes.tolist()]


@dataclass(frozen=True)
class Numbers:
    """A column of n numbers.

    Attributes:
        values: (n,) float64; NaN where the cell is empty.
        empty: (n,) True where the cell is empty.
        odd: row -> cell that is no plain number, for few rows; NaN in `values`.
    """

    values: NDArray[np.float64]
    empty: NDArray[np.bool_]
    odd: Mapping[int, object] = field(default_factory=dict)

    def rows(self) -> list[object]:
        """Return the n cells."""
        pairs = zip(self.values.tolist(), self.empty.tolist(), strict=True)
        cells: list[object] = [None if empty else value for value, empty in pairs]
        for row, cell in self.odd.items():
            cells[row] = cell
        return cells


Column = Coded | Numbers


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a table.

    Attributes:
        columns: the columns asked for, by place in the table; all have the same length.
        lines: line of each row in the file, from 1.
        broken: line and error of the rows that could not be parsed.
    """

    columns: Mapping[int, Column]
    lines: Sequence[int] | NDArray[np.int64]
    broken: Sequence[tuple[int, BadEvent]] = ()


@dataclass(frozen=True)
class Table:
    """One file.

    Attributes:
        file: name of the file, without its folder.
        columns: names, in file order.
        read: reads the chunks of the columns asked for, by place; may be called again.
        places: meaning -> place of the column, for a file without column names; None: the names decide.
        doubt: description of what is unclear about `places`; "" where nothing is.
        is_sparse: True if each row has keys of its own, as JSON objects have: a cell that is None is not there.
    """

    file: str
    columns: tuple[str, ...]
    read: Callable[[Mapping[int, Kind]], Iterator[Chunk]] = field(repr=False)
    places: Mapping[str, int] | None = None
    doubt: str = ""
    is_sparse: bool = False

    def records(self) -> Iterator[tuple[int, Sequence[object] | BadEvent]]:
        """Yield line and cells, or the error, of every row: for tables of items, which are short."""
        for chunk in self.read(dict.fromkeys(range(len(self.columns)), "text")):
            yield from chunk.broken
            cells = [chunk.columns[place].rows() for place in range(len(self.columns))]
            yield from zip(chunk.lines, zip(*cells, strict=True), strict=True)


WHOLE = 1 << 62
"""Whole numbers below this fit an array."""


def first_given(columns: Sequence[Column]) -> Column:
    """Return the column whose cells are, row by row, the first of the given columns that is not None."""
    filled = [c for c in columns if not (isinstance(c, Coded) and list(c.cells) == [None])]
    if len(filled) < 2:
        return filled[0] if filled else columns[0]
    rows = zip(*(c.rows() for c in filled), strict=True)
    return coded([next((cell for cell in row if cell is not None), None) for row in rows])


def column_of(cells: Sequence[Any], kind: Kind) -> Column:
    """Return the column of Python cells: numbers and times as an array where all are numbers, else each cell once."""
    if kind != "text" and all(cell is None or type(cell) in (int, float) for cell in cells):
        empty = np.array([cell is None for cell in cells], dtype=np.bool_)
        try:
            return Numbers(np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64), empty)
        except OverflowError:
            pass
    return coded(cells)


def coded(cells: Sequence[Any]) -> Coded:
    """Return the column of Python cells, each different one once."""
    kinds = set(map(type, cells))
    if kinds == {int} and max(map(abs, cells)) < WHOLE:
        whole, inverse = np.unique(np.array(cells, dtype=np.int64), return_inverse=True)
        return Coded(inverse, whole.tolist())
    if kinds == {str}:
        try:
            texts = pyarrow.array(cells, pyarrow.string()).dictionary_encode()
            return Coded(texts.indices.to_numpy(), texts.dictionary.to_pylist())
        except UnicodeEncodeError:
            # Half a surrogate pair, as JSON can spell it.
            pass
    places: dict[object, int] = {}
    different: list[object] = []
    codes = np.empty(len(cells), dtype=np.int32)
    # 1, 1.0 and True are equal in Python; lists and objects have no hash.
    for row, cell in enumerate(cells):
        key = cell if type(cell) is str else (type(cell), repr(cell))
        place = places.setdefault(key, len(different))
        if place == len(different):
            different.append(cell)
        codes[row] = place
    return Coded(codes, different)
