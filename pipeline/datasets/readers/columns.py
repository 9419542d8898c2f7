"""Meaning of the columns of a table, given by the user or guessed from their names."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from pipeline.datasets.item_text import item_text
from pipeline.datasets.readers.delimited import Table
from pipeline.datasets.readers.rows import ReadOptions, Row
from pipeline.errors import BadEvent, DataError

ALIASES: Mapping[str, tuple[str, ...]] = {
    "user_id": ("userid", "user", "uid", "reviewerid", "customerid", "visitorid", "sessionid", "session"),
    "item_id": (
        *("itemid", "item", "iid", "movieid", "sku", "productid", "parentasin", "asin"),
        *("trackid", "songid", "bookid", "isbn", "articleid", "newsid"),
    ),
    "timestamp": (
        "timestamp",
        "ts",
        "time",
        "datetime",
        "unixtime",
        "unixreviewtime",
        "eventtime",
        "createdat",
        "date",
    ),
    "value": ("rating", "score", "value", "stars", "overall"),
    "event_id": ("eventid",),
}
"""Names of a column by meaning, the most specific first, in lower case and without separators."""

TITLES = ("title", "name", "movietitle", "itemname", "itemtitle", "productname", "producttitle", "productdisplayname")
ITEM_TITLES = tuple(title for title in TITLES if title != "name")
"""Title columns in a table of interactions, where `name` would be the user's name."""

YEARS = ("year", "releaseyear")
WORDS = (
    *("genres", "genre", "class", "categories", "category", "subcategory", "tags", "tag"),
    *("brand", "artist", "author", "authors", "subtitle", "description", "abstract", "text"),
)
"""Columns that describe an item, in the order in which they enter its text."""

REQUIRED = ("user_id", "item_id", "timestamp")


def plain(name: str) -> str:
    """Return a column name in the form of the aliases: `Movie_ID` is `movieid`."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def find(columns: Sequence[str], aliases: Sequence[str]) -> int | None:
    """Return the index of the column with the first of these names that occurs, or None."""
    names = [plain(column) for column in columns]
    return next((names.index(alias) for alias in aliases if alias in names), None)


def interaction_rows(table: Table, options: ReadOptions) -> Iterator[Row]:
    """Return the rows of a table of interactions, fields by our names.

    Raises:
        DataError: at the call, if a required or a named column is missing; the message names the columns found and the
            setting that maps one.
    """
    indices = {name: index for name in ALIASES if (index := _index(table, name, options)) is not None}
    return _rows(table, lambda cells: {name: _CLEAN[name](cells[index]) for name, index in indices.items()})


def item_rows(table: Table, options: ReadOptions) -> Iterator[Row]:
    """Return the rows of a table of items: `item_id`, `text`, and every column that is not part of the text.

    Raises:
        DataError: at the call, if a named column or that of the item is missing.
    """
    item_column = find(table.columns, [plain(options.item_id)]) if options.item_id else None
    if item_column is None:
        item_column = find(table.columns, (*ALIASES["item_id"], "id"))
    if item_column is None:
        raise DataError(_missing(table, "item_id"))
    title, year, words = _text_columns(table, item_column, options)
    used = {item_column, title, year, *words}
    rest = [(i, name) for i, name in enumerate(table.columns) if i not in used]

    def item(cells: Sequence[object]) -> dict[str, object]:
        text = item_text(_cell(cells, title), _cell(cells, year), [cells[i] for i in words])
        attributes = {name: cells[i] for i, name in rest if cells[i] not in (None, "")}
        return {"item_id": _identifier(cells[item_column]), "text": text, "attributes": attributes}

    return _rows(table, item)


def has_title(table: Table, options: ReadOptions) -> bool:
    """Return True if a table of interactions has a column with the item's title."""
    return bool(options.text) or find(table.columns, ITEM_TITLES) is not None


def title_rows(table: Table, options: ReadOptions) -> Iterator[Row]:
    """Yield the items of a table of interactions. Broken rows are skipped: `interaction_rows` reports them."""
    names = options.text or tuple(table.columns[i] for i in [find(table.columns, ITEM_TITLES)] if i is not None)
    index = _index(table, "item_id", options)
    title, *others = (_named(table, name) for name in names)
    seen: set[object] = set()
    for line, cells in table.rows:
        if isinstance(cells, BadEvent) or index is None or str(cells[index]) in seen or cells[index] in (None, ""):
            continue
        seen.add(str(cells[index]))
        text = item_text(cells[title], None, [cells[i] for i in others])
        yield Row(table.file, line, {"item_id": _identifier(cells[index]), "text": text})


def _rows(table: Table, record: Callable[[Sequence[object]], Mapping[str, object]]) -> Iterator[Row]:
    for line, cells in table.rows:
        yield Row(table.file, line, cells if isinstance(cells, BadEvent) else record(cells))


def _index(table: Table, name: str, options: ReadOptions) -> int | None:
    column: str | None = getattr(options, name)
    if column is not None:
        return _named(table, column)
    index = find(table.columns, ALIASES[name])
    if index is None and name in REQUIRED:
        raise DataError(_missing(table, name))
    return index


def _named(table: Table, column: str) -> int:
    if column not in table.columns:
        raise DataError(f"{table.file} has no column {column!r}; it has: {', '.join(table.columns) or 'none'}")
    return table.columns.index(column)


def _missing(table: Table, name: str) -> str:
    found = ", ".join(table.columns) or "none"
    return (
        f"{table.file} has no column that looks like {name}; its columns are: {found}. "
        f"Name the right one: --set data.columns.{name}=COLUMN (or rename it to {name})"
    )


def _text_columns(table: Table, item_column: int, options: ReadOptions) -> tuple[int | None, int | None, list[int]]:
    """Return the indices of title, year and the other descriptive columns."""
    if options.text:
        first, *others = (_named(table, column) for column in options.text)
        return first, None, others
    title, year = find(table.columns, TITLES), find(table.columns, YEARS)
    words = [i for alias in WORDS if (i := find(table.columns, [alias])) is not None]
    if title is None and not words:
        words = [i for i in range(len(table.columns)) if i not in (item_column, year)]
    return title, year, words


def _cell(cells: Sequence[object], index: int | None) -> object:
    return None if index is None else cells[index]


def _identifier(cell: object) -> object:
    """Return an id; a whole float becomes an int, since column stores turn a column with gaps into floats."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell.strip() if isinstance(cell, str) else cell


def _number(cell: object) -> object:
    return float(cell) if isinstance(cell, Decimal) else cell


def _moment(cell: object) -> object:
    """Return a time as seconds since 1970; one without a zone is UTC."""
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return _number(cell)
    try:
        moment = datetime.fromisoformat(cell.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return cell


_NUMBER = re.compile(r"\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*")
_CLEAN: Mapping[str, Callable[[object], object]] = {
    "user_id": _identifier,
    "item_id": _identifier,
    "timestamp": _moment,
    "value": _number,
    "event_id": _identifier,
}
