"""Meaning of the columns of a table, given by the user or guessed from their names.

A doubtful guess is an error that shows the setting that settles it.
"""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.datasets.item_text import item_text
from pipeline.datasets.readers.names import (
    ALIASES,
    FIELDS,
    ITEM_MOMENTS,
    ITEM_TITLES,
    REQUIRED,
    REVIEWS,
    TIERS,
    TITLES,
    WORDS,
    YEARS,
    plain,
)
from pipeline.datasets.readers.rows import BoundTable, ColumnUse, ReadOptions, Row
from pipeline.datasets.readers.table import Table
from pipeline.errors import BadEvent, DataError

MEANINGS = {"user_id": "user", "item_id": "item", "timestamp": "time", "value": "value", "event_id": "event id"}
"""Fields as they are shown."""

TEXT_OF_ITEM = "text of the item"
"""The same for columns that describe the item."""

MOMENTS_OF_ITEM = {"available_from": "moment from which the item exists", "expires": "moment at which it ends"}
"""The same for the moments of an item."""


def find(columns: Sequence[str], aliases: Sequence[str]) -> int | None:
    """Return the place of the column with the first of these names that occurs, or None."""
    names = [plain(column) for column in columns]
    return next((names.index(alias) for alias in aliases if alias in names), None)


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
    mapped = {name: _named(table, column) for name in FIELDS if (column := getattr(options, name)) is not None}
    text = () if has_items else tuple(_named(table, column) for column in options.text)
    guess = _by_name if table.places is None else _by_place
    fields = mapped | guess(table, mapped, {*mapped.values(), *text})
    for name in REQUIRED:
        if name not in fields:
            raise DataError(_missing(table, name))
    fields = {name: fields[name] for name in FIELDS if name in fields}
    if text:
        return BoundTable(table, fields, text, mapped_text=True)
    title = None if has_items else _title(table, set(fields.values()))
    return BoundTable(table, fields, () if title is None else (title,))


def _by_name(table: Table, mapped: Mapping[str, int], taken: set[int]) -> dict[str, int]:
    """Guess the fields that are not mapped, among the columns that are not taken."""
    free = {place: plain(column) for place, column in enumerate(table.columns) if place not in taken}
    found = {}
    for name in FIELDS:
        if name in mapped:
            continue
        for tier in TIERS[name]:
            candidates = [place for place, column in free.items() if column in tier]
            if len(candidates) > 1:
                raise DataError(_ambiguous(table, name, candidates))
            if candidates:
                found[name] = candidates[0]
                break
    return found


def _by_place(table: Table, mapped: Mapping[str, int], taken: set[int]) -> dict[str, int]:
    """Take the places of a table without names, unless they are doubtful and needed."""
    places = table.places or {}
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
    taken += [(shown[place], TEXT_OF_ITEM) for place in bound.text]
    used = {*bound.fields.values(), *bound.text}
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
        self._table = table
        named = find(table.columns, [plain(options.item_id)]) if options.item_id else None
        item = find(table.columns, (*ALIASES["item_id"], "id")) if named is None else named
        if item is None:
            raise DataError(_missing(table, "item_id"))
        self._item = item
        self._moments = self._found_moments(options)
        self._title, self._year, self._words = self._texts(options)
        used = {self._item, self._title, self._year, *self._words, *self._moments.values()}
        self._rest = [(place, name) for place, name in enumerate(table.columns) if place not in used]

    def rows(self) -> Iterator[Row]:
        """Yield `item_id`, `text`, the moments and the other columns, as attributes, of each row."""
        for line, cells in self._table.records():
            yield Row(self._table.file, line, cells if isinstance(cells, BadEvent) else self._record(cells))

    def use(self) -> ColumnUse:
        """Return the use of the columns, to be shown."""
        columns = self._table.columns
        texts = [place for place in (self._title, self._year, *self._words) if place is not None]
        taken = [(columns[self._item], "item"), *((columns[place], TEXT_OF_ITEM) for place in texts)]
        taken += [(columns[place], MOMENTS_OF_ITEM[name]) for name, place in self._moments.items()]
        taken += [(name, "attribute of the item") for _, name in self._rest]
        return ColumnUse(self._table.file, tuple(taken), ())

    def _record(self, cells: Sequence[object]) -> dict[str, object]:
        title, year = [None if place is None else cells[place] for place in (self._title, self._year)]
        text = item_text(title, year, [cells[place] for place in self._words])
        attributes = {name: cells[place] for place, name in self._rest if cells[place] not in (None, "")}
        moments = {name: cells[place] for name, place in self._moments.items()}
        return {"item_id": cells[self._item], "text": text, "attributes": attributes, **moments}

    def _found_moments(self, options: ReadOptions) -> dict[str, int]:
        """Return the places of the moments, without columns that the user named for something else."""
        columns = self._table.columns
        taken = {self._item, *(place for place, column in enumerate(columns) if column in options.text)}
        found = {name: find(columns, aliases) for name, aliases in ITEM_MOMENTS.items()}
        return {name: place for name, place in found.items() if place is not None and place not in taken}

    def _texts(self, options: ReadOptions) -> tuple[int | None, int | None, list[int]]:
        """Return the places of title, year and the other descriptive columns."""
        columns = self._table.columns
        if options.text:
            first, *others = (_named(self._table, column) for column in options.text)
            return first, None, others
        title, year = find(columns, TITLES), find(columns, YEARS)
        words = [place for alias in WORDS if (place := find(columns, [alias])) is not None]
        if title is None and not words:
            words = [place for place in range(len(columns)) if place not in (year, *self._moments.values())]
        return title, year, [place for place in words if place != self._item]


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
