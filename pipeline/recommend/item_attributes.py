"""Attributes of all items by catalogue row, so that a condition is answered for a large catalogue in a millisecond.

A column holds one attribute. It is made when a request first asks for it, and follows the catalogue from then on; what
no request asks for costs nothing.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.events.attributes import magnitude, values_of
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.conditions import Condition, Value

ABSENT = 0
"""Code of rows that lack the attribute."""

MOST_COLUMNS = 64
"""Columns in memory; the one made first goes first."""

SHOWN = 20
"""Names of attributes that an error lists."""

AVAILABLE_FROM, EXPIRES = "available_from", "expires"
"""Moments of an item, which a condition may name like attributes."""

Mask = NDArray[np.bool_]


class AttributeColumn:
    """One attribute of the items: a code for each catalogue row, and the values that each code stands for."""

    def __init__(self) -> None:
        self._codes = np.zeros(1, dtype=np.int32)
        self._code_of: dict[str, int] = {}
        self._values: list[tuple[str, ...]] = [()]
        self._codes_with: dict[str, list[int]] = defaultdict(list)
        self._numbers = np.full(1, math.nan)

    @property
    def is_outgrown(self) -> bool:
        """True where most of its texts belong to no row any more: it is made anew."""
        return len(self._values) > 2 * len(self._codes) + 1024

    def set(self, rows: Iterable[tuple[int, str | None]]) -> None:
        """Set the texts of rows; None for a row that lacks the attribute."""
        for row, text in rows:
            if row >= len(self._codes):
                self._codes = np.concatenate([self._codes, np.zeros(row + 1 + row // 4, dtype=np.int32)])
            self._codes[row] = ABSENT if text is None else self._code(text)

    def values(self, row: int) -> tuple[str, ...]:
        """Values of the attribute in a row, none where it is absent."""
        return self._values[self._codes[row]] if row < len(self._codes) else ()

    def admitted(self, condition: Condition, rows: int) -> Mask:
        """(rows,) True where the item of a catalogue row fulfils a condition."""
        admitted = np.ones(len(self._values), dtype=np.bool_)
        if condition.any_of is not None or condition.is_range:
            admitted[ABSENT] = False
        if condition.any_of is not None:
            admitted &= self._having(condition.any_of)
        if condition.none_of:
            admitted &= ~self._having(condition.none_of)
        if condition.is_range:
            numbers = self._numbers[: len(self._values)]
            admitted &= (numbers >= condition.least) & (numbers <= condition.most)
        return self._of_rows(admitted, rows)

    def having(self, values: Iterable[Value], rows: int) -> Mask:
        """(rows,) True where the item of a catalogue row has at least one of the values."""
        return self._of_rows(self._having(values), rows)

    def _of_rows(self, of_codes: Mask, rows: int) -> Mask:
        found = np.full(rows, of_codes[ABSENT])
        known = self._codes[:rows]
        found[: len(known)] = of_codes[known]
        return found

    def _having(self, values: Iterable[Value]) -> Mask:
        """(codes,) True for codes with one of the values."""
        found = np.zeros(len(self._values), dtype=np.bool_)
        for value in values:
            if isinstance(value, str):
                found[self._codes_with.get(value, [])] = True
            else:
                found |= self._numbers[: len(self._values)] == value
        return found

    def _code(self, text: str) -> int:
        code = self._code_of.get(text)
        if code is None:
            code = self._code_of[text] = len(self._values)
            self._values.append(values_of(text))
            for value in self._values[code]:
                self._codes_with[value].append(code)
            if code >= len(self._numbers):
                self._numbers = np.concatenate([self._numbers, np.full(code + 1, math.nan)])
            self._numbers[code] = magnitude(text)
        return code


class ItemAttributes:
    """Attributes of the items of a catalogue; to be used where the catalogue may be read.

    Args:
        catalogue: the items.
    """

    def __init__(self, catalogue: OpenCatalogue) -> None:
        self._catalogue = catalogue
        self._columns: dict[str, AttributeColumn] = {}
        self._names: set[str] | None = None

    def column(self, name: str) -> AttributeColumn:
        """The column of an attribute, or of one of the two moments.

        Raises:
            RequestError: no item has such an attribute.
        """
        if name not in self._columns:
            if name not in self._known_names():
                raise RequestError(self._unknown(name))
            if len(self._columns) >= MOST_COLUMNS:
                del self._columns[next(iter(self._columns))]
            self._columns[name] = column = AttributeColumn()
            column.set((row, _text(item, name)) for row, item in self._items(range(1, self._catalogue.rows + 1)))
        return self._columns[name]

    def follow(self, rows: Iterable[int]) -> None:
        """Follow catalogue rows whose item, or whose item's record, has changed."""
        if self._names is None:
            return
        changed = list(self._items(rows))
        for _, item in changed:
            self._names.update(() if item is None else item.attributes)
        for name, column in list(self._columns.items()):
            column.set((row, _text(item, name)) for row, item in changed)
            if column.is_outgrown:
                del self._columns[name]

    def _items(self, rows: Iterable[int]) -> Iterable[tuple[int, Item | None]]:
        catalogue = self._catalogue
        return ((row, catalogue.item(catalogue.ids[row]) if catalogue.ids[row] else None) for row in rows)

    def _known_names(self) -> set[str]:
        if self._names is None:
            items = (item for _, item in self._items(range(1, self._catalogue.rows + 1)) if item is not None)
            self._names = {AVAILABLE_FROM, EXPIRES, *(name for item in items for name in item.attributes)}
        return self._names

    def _unknown(self, name: str) -> str:
        names = sorted(self._known_names() - {AVAILABLE_FROM, EXPIRES})
        listed = ", ".join(name[:40] for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        has = f"they have {listed}" if names else "no record of `items` has attributes"
        return f"no item has an attribute {name[:64]!r}: {has}"


def _text(item: Item | None, name: str) -> str | None:
    """Text of an attribute or moment, None where the item lacks it; an item that never expires has `inf`."""
    if item is None:
        return None
    if name == EXPIRES:
        return repr(math.inf if item.expires is None else item.expires)
    if name == AVAILABLE_FROM:
        return None if item.available_from in (None, WHEN_TAKEN) else repr(item.available_from)
    return item.attributes.get(name)
