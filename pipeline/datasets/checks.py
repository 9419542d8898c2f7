"""Checks of whole columns: codes of ids, seconds and values, with the fault of each row that has one.

Each different cell is judged once, by the rules of `pipeline.events.cells`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.readers.table import Coded, Column, Numbers, coded
from pipeline.errors import BadEvent
from pipeline.events.cells import (
    MILLISECONDS_FROM,
    TIMESTAMP_BELOW,
    calendar_moment,
    identifier,
    moment,
    number,
)
from pipeline.events.counting import CountingRule

FINE = -1
"""Fault of a row that has none."""

CALENDAR_SHARE = 0.9
"""Share of the different numbers that must be dates (20240501) for all to be read as dates."""

CALENDAR_ROWS = 10_000
"""Rows of the first chunk that decide it."""


@dataclass(frozen=True)
class Checked:
    """One column after its check.

    Attributes:
        data: (n,) codes of ids, or numbers; arbitrary where a row has a fault.
        faults: (n,) places in `errors`, or FINE; None: no row has a fault.
        errors: the different faults.
    """

    data: NDArray[np.float64] | NDArray[np.int32]
    faults: NDArray[np.int32] | None = None
    errors: Sequence[BadEvent] = ()


class Ids:
    """Codes of the ids of one kind, the same in every chunk.

    Args:
        name: field that they come from (`user_id`).
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._codes: dict[str, int] = {}
        self._of_cell: dict[object, int] = {}
        self._errors: list[BadEvent] = []

    def check(self, column: Column) -> Checked:
        """Return the codes of a column's ids."""
        column = _coded(column)
        known = self._of_cell.get
        keys = [cell if type(cell) is str else (type(cell), repr(cell)) for cell in column.cells]
        of_cell = [known(key) for key in keys]
        codes = [self._new(keys[n], column.cells[n]) if code is None else code for n, code in enumerate(of_cell)]
        by_cell = np.array(codes, dtype=np.int32)
        found = by_cell[column.codes] if len(column.cells) else np.zeros(0, dtype=np.int32)
        if not (by_cell < 0).any():
            return Checked(found)
        return Checked(found, np.where(found < 0, -found - 1, FINE).astype(np.int32), self._errors)

    def table(self) -> NDArray[np.object_]:
        """Return the ids, by code."""
        table = np.empty(len(self._codes), dtype=np.object_)
        table[:] = list(self._codes)
        return table

    def _new(self, key: object, cell: object) -> int:
        """Return the code of a cell seen for the first time, or -1 - the place of its fault."""
        try:
            code = self._codes.setdefault(identifier(cell, self._name), len(self._codes))
        except BadEvent as error:
            self._errors.append(error)
            code = -len(self._errors)
        self._of_cell[key] = code
        return code


def check_values(column: Column) -> Checked:
    """Return the numbers of a column, NaN where a cell is empty."""
    if isinstance(column, Numbers):
        return _judged(column, column.values, np.isfinite(column.values) | column.empty, _value)
    return _parsed(column, _value)


def _value(cell: object) -> float | None:
    return number(cell, "value")


def check_kinds(column: Column, rule: CountingRule) -> Checked:
    """Return 1 for each row whose kind of event counts, else 0."""
    return _parsed(_coded(column), lambda cell: float(rule.counts_kind(cell)))


class Moments:
    """Times of one file: seconds, milliseconds, ISO-8601, or dates such as 20240501.

    The first chunk decides whether numbers are dates: seconds of 1970 have eight digits too.
    """

    def __init__(self) -> None:
        self._is_calendar: bool | None = None

    def check(self, column: Column) -> Checked:
        """Return the seconds since 1970 of a column's times."""
        if self._is_calendar is None:
            self._is_calendar = _is_calendar(column)
        if isinstance(column, Numbers) and not self._is_calendar:
            values = column.values
            usable = (values >= 0) & (values < TIMESTAMP_BELOW)
            return _judged(column, np.where(values >= MILLISECONDS_FROM, values / 1000.0, values), usable, self._moment)
        return _parsed(_coded(column), self._moment)

    def _moment(self, cell: object) -> float:
        return moment(cell, calendar=self._is_calendar)


def _is_calendar(column: Column) -> bool:
    if isinstance(column, Numbers):
        first = column.values[:CALENDAR_ROWS]
        numbers = np.unique(first[np.isfinite(first)]).tolist()
    else:
        numbers = [value for value in map(_as_number, column.cells[:CALENDAR_ROWS]) if value is not None]
    dates = sum(calendar_moment(value) is not None for value in numbers)
    return dates > 0 and dates >= CALENDAR_SHARE * len(numbers)


def _as_number(cell: object) -> float | None:
    try:
        return number(cell, "timestamp")
    except BadEvent:
        return None


def _judged(
    column: Numbers, data: NDArray[np.float64], usable: NDArray[np.bool_], parse: Callable[[object], float | None]
) -> Checked:
    """Return data that is right where it is usable; the other cells are parsed one by one."""
    rows = np.flatnonzero(~usable)
    if not len(rows):
        return Checked(data)
    empty, values = column.empty[rows].tolist(), column.values[rows].tolist()
    cells: list[object] = [None if none else value for none, value in zip(empty, values, strict=True)]
    if column.odd:
        cells = [column.odd.get(row, cell) for row, cell in zip(rows.tolist(), cells, strict=True)]
    rest = _parsed(coded(cells), parse)
    data, faults = data.copy(), np.full(len(data), FINE, dtype=np.int32)
    data[rows] = rest.data
    faults[rows] = FINE if rest.faults is None else rest.faults
    return Checked(data, faults, rest.errors)


def _parsed(column: Coded, parse: Callable[[object], float | None]) -> Checked:
    """Return the numbers of a column; each different cell is parsed once."""
    data = np.zeros(len(column.cells), dtype=np.float64)
    faults = np.full(len(column.cells), FINE, dtype=np.int32)
    errors: list[BadEvent] = []
    for place, cell in enumerate(column.cells):
        try:
            value = parse(cell)
            data[place] = np.nan if value is None else value
        except BadEvent as error:
            faults[place] = len(errors)
            errors.append(error)
    if not len(column.codes):
        return Checked(np.zeros(0))
    return Checked(data[column.codes], faults[column.codes] if errors else None, errors)


def _coded(column: Column) -> Coded:
    """Return a column by its different cells."""
    if isinstance(column, Coded):
        return column
    if column.odd:
        return coded(column.rows())
    different, codes = np.unique(column.values, return_inverse=True)
    cells: list[object] = different.tolist()
    if column.empty.any():
        codes = np.where(column.empty, len(cells), codes)
        cells.append(None)
    return Coded(codes, cells)
