"""Meaning of the columns of a table, given by the user or guessed from their names.

A doubtful guess is an error that shows the setting that settles it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, takewhile

from pipeline.datasets.readers.item_fields import ItemFields
from pipeline.datasets.readers.names import FIELDS, ITEM_TITLES, MEANINGS, REQUIRED, REVIEWS, candidates, plain
from pipeline.datasets.readers.rows import BoundTable, ColumnUse, ReadOptions, Row
from pipeline.datasets.readers.table import Table
from pipeline.errors import BadEvent, DataError

TEXT_OF_ITEM = "text of the item"
"""The same for columns that describe the item."""

MOMENTS_OF_ITEM = {"available_from": "moment from which the item exists", "expires": "moment at which it ends"}
"""The same for the moments of an item."""


def bind(table: Table, options: ReadOptions, *, has_items: bool = False) -> BoundTable:
    """Give the columns of a table of interactions their meaning.

    Args:
        table: the table.
        options: columns that the user names.
        has_items: True if the texts of items come from a file of items.

    Raises:
        DataError: a required or a named column is missing, or the guess is doubtful; the message names the columns
            found and the setting.
    """
    mapped = {name: _named(table, column) for name, column in options.named.items()}
    text = () if has_items else tuple(_named(table, column) for column in options.text)
    guess, taken = _by_name if table.places is None else _by_place, {*mapped.values(), *text}
    fields = mapped | guess(table, options.fields, mapped, taken)
    for name in (*REQUIRED, *options.fields[len(FIELDS) :]):
        if name not in fields:
            raise DataError(_missing(table, name))
    fields = {name: fields[name] for name in options.fields if name in fields}
    otherwise = _otherwise(table, [n for n in fields if n not in mapped], taken) if table.is_sparse else {}
    if text:
        return BoundTable(table, fields, text, otherwise, mapped_text=True)
    title = None if has_items else _title(table, {*fields.values(), *chain(*otherwise.values())})
    return BoundTable(table, fields, () if title is None else (title,), otherwise)


def _by_name(table: Table, fields: Sequence[str], mapped: Mapping[str, int], taken: set[int]) -> dict[str, int]:
    """Guess the fields that are not mapped, among the columns that are not taken."""
    free = {place: plain(column) for place, column in enumerate(table.columns) if place not in taken}
    found = {}
    for name in fields:
        places = None if name in mapped else next(candidates(free, name), None)
        if places is None:
            continue
        if len(places) > 1:
            raise DataError(_ambiguous(table, name, places))
        found[name] = places[0]
    return found


def _otherwise(table: Table, guessed: Collection[str], taken: Collection[int]) -> dict[str, tuple[int, ...]]:
    """Return the less sure columns of each guessed field, up to the first doubtful, for rows without the surest."""
    free = {place: plain(column) for place, column in enumerate(table.columns) if place not in taken}
    further = {name: takewhile(lambda places: len(places) == 1, candidates(free, name)) for name in guessed}
    found = {name: tuple(places[0] for places in tiers)[1:] for name, tiers in further.items()}
    return {name: places for name, places in found.items() if places}


def _by_place(table: Table, fields: Sequence[str], mapped: Mapping[str, int], taken: set[int]) -> dict[str, int]:
    """Take the places of a table without names, unless they are doubtful and needed."""
    places = {name: place for name, place in (table.places or {}).items() if name in fields}
    if all(name in mapped for name in REQUIRED):
        return {}
    if table.doubt:
        raise DataError(_doubtful(table, places, mapped))
    return {name: place for name, place in places.items() if name not in mapped and place not in taken}


def _title(table: Table, taken: set[int]) -> int | None:
    """Return the place of the item's title, None where there is none or where it is a review's."""
    names = ["" if place in taken else plain(column) for place, column in enumerate(table.columns)]
    titles = [title for title in ITEM_TITLES if not (title == "title" and _is_review(table))]
    return next((names.index(title) for title in titles if title in names), None)


def _is_review(table: Table) -> bool:
    is_named = "review" in table.file.lower()
    return is_named or any(plain(column) in REVIEWS for column in table.columns)


def use_of(bound: BoundTable, notes: Sequence[str] = ()) -> ColumnUse:
    """Return the use of the columns of a table of interactions, to be shown."""
    columns, by_place = bound.table.columns, bound.table.places is not None
    shown = [f"column {name}" if by_place else name or "(no name)" for name in columns]
    taken = [(shown[place], MEANINGS[name]) for name, place in bound.fields.items()]
    taken += [(shown[n], f"{MEANINGS[name]}, if need be") for name, places in bound.otherwise.items() for n in places]
    taken += [(shown[place], TEXT_OF_ITEM) for place in bound.text]
    used = {*bound.fields.values(), *chain(*bound.otherwise.values()), *bound.text}
    title = next((n for place, n in enumerate(columns) if plain(n) == "title" and place not in used), None)
    if title and not bound.text and _is_review(bound.table):
        notes = (*notes, f"{title} is taken for the title of a review; --set data.columns.text={title} uses it")
    ignored = tuple(name for place, name in enumerate(shown) if place not in used)
    return ColumnUse(bound.table.file, tuple(taken), ignored, tuple(notes))


class ItemColumns:
    """Meaning of the columns of a table of items.

    Args:
        table: the table.
        options: columns that the user names.

    Raises:
        DataError: a named column or that of the item is missing.
    """

    def __init__(self, table: Table, options: ReadOptions) -> None:
        for column in options.text:
            _named(table, column)
        self._table, self._options = table, options
        self._fields = (ItemFields.of_object if table.is_sparse else ItemFields.of_columns)(table.columns, options)
        if self._fields.item is None:
            raise DataError(_missing(table, "item_id"))
        self._of_keys: dict[tuple[str, ...], ItemFields] = {}

    def rows(self) -> Iterator[Row]:
        """Yield `item_id`, `text`, the moments and the other columns, as attributes, of each row."""
        record = self._object if self._table.is_sparse else self._fields.record
        for line, cells in self._table.records():
            yield Row(self._table.file, line, cells if isinstance(cells, BadEvent) else record(cells))

    def use(self) -> ColumnUse:
        """Return the use of the columns, to be shown."""
        columns, fields = self._table.columns, self._fields
        texts = [place for place in (fields.title, fields.year, *fields.words) if place is not None]
        taken = [(columns[fields.item or 0], "item"), *((columns[place], TEXT_OF_ITEM) for place in texts)]
        taken += [(columns[place], MOMENTS_OF_ITEM[name]) for name, place in fields.moments.items()]
        taken += [(name, "attribute of the item") for _, name in fields.rest]
        return ColumnUse(self._table.file, tuple(taken), ())

    def _object(self, cells: Sequence[object]) -> dict[str, object]:
        """Return the fields of one JSON object; objects of the same keys share their meaning."""
        given = {name: cell for name, cell in zip(self._table.columns, cells, strict=True) if cell is not None}
        keys = tuple(given)
        if keys not in self._of_keys:
            self._of_keys[keys] = ItemFields.of_object(keys, self._options)
        return self._of_keys[keys].object_record(tuple(given.values()))


def _named(table: Table, column: str) -> int:
    if column not in table.columns:
        raise DataError(f"{table.file} has no column {column!r}; it has: {', '.join(table.columns) or 'none'}")
    if table.columns.count(column) > 1:
        raise DataError(f"{table.file} has {table.columns.count(column)} columns named {column!r}: rename one of them")
    return table.columns.index(column)


def _missing(table: Table, name: str) -> str:
    if not table.columns:
        return f"{table.file} holds no row with named fields: each must be an object with a user, an item and a time"
    found = ", ".join(table.columns) or "none"
    return (
        f"{table.file} has no column that looks like {name}; its columns are: {found}. "
        f"Name the right one: --set data.columns.{name}=COLUMN (or rename it to {name})"
    )


def _ambiguous(table: Table, name: str, places: Sequence[int]) -> str:
    names = [table.columns[place] for place in places]
    if len(set(names)) < len(names):
        return f"{table.file} has several columns named {names[0]}: rename all but one"
    ways = " or ".join(f"--set data.columns.{name}={column}" for column in names)
    return f"{table.file}: {' and '.join(names)} can each be the {MEANINGS[name]} ({name}). Choose one: {ways}"


def _doubtful(table: Table, places: Mapping[str, int], mapped: Mapping[str, int]) -> str:
    guess = {name: places.get(name) for name in REQUIRED} | dict(mapped)
    shown = {name: "COLUMN" if place is None else table.columns[place] for name, place in guess.items()}
    settings = " ".join(f"--set data.columns.{name}={column}" for name, column in shown.items())
    known = ", ".join(table.columns)
    return f"{table.file}: {table.doubt}. Number the columns ({known}) to settle it; the guess is: {settings}"
