"""Which column of a table means what: as told, or guessed from its name."""

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
"""Names a column may go by, the most telling first, in lower case and without separators."""

TITLES = ("title", "name", "movietitle", "itemname", "itemtitle", "productname", "producttitle", "productdisplayname")
TELLING_TITLES = tuple(title for title in TITLES if title != "name")
"""Titles as they stand beside a user, where a name would be the user's."""

YEARS = ("year", "releaseyear")
WORDS = (
    *("genres", "genre", "class", "categories", "category", "subcategory", "tags", "tag"),
    *("brand", "artist", "author", "authors", "subtitle", "description", "abstract", "text"),
)
"""Columns that describe an item, in the order in which they are read out."""

REQUIRED = ("user_id", "item_id", "timestamp")


def plain(name: str) -> str:
    """A column name as the aliases have it: `Movie_ID` is `movieid`."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def find(columns: Sequence[str], aliases: Sequence[str]) -> int | None:
    """Position of the column with the most telling of these names, or None."""
    names = [plain(column) for column in columns]
    return next((names.index(alias) for alias in aliases if alias in names), None)


def interaction_rows(table: Table, options: ReadOptions) -> Iterator[Row]:
    """The rows of a table of interactions, fields by our names.

    Raises:
        DataError: at once, when a required or a named column is missing; it says what was found and how to map it.
    """
    places = {name: place for name in ALIASES if (place := _place(table, name, options)) is not None}
    return _rows(table, lambda cells: {name: _CLEAN[name](cells[place]) for name, place in places.items()})


def item_rows(table: Table, options: ReadOptions) -> Iterator[Row]:
    """The rows of a table of items: `item_id`, `text`, and every column that is not part of the text.

    Raises:
        DataError: at once, when a named column or the item's is missing.
    """
    at = find(table.columns, [plain(options.item_id)]) if options.item_id else None
    if at is None:
        at = find(table.columns, (*ALIASES["item_id"], "id"))
    if at is None:
        raise DataError(_missing(table, "item_id"))
    title, year, words = _text_places(table, at, options)
    told = {at, title, year, *words}
    rest = [(i, name) for i, name in enumerate(table.columns) if i not in told]

    def item(cells: Sequence[object]) -> dict[str, object]:
        text = item_text(_at(cells, title), _at(cells, year), [cells[i] for i in words])
        attributes = {name: cells[i] for i, name in rest if cells[i] not in (None, "")}
        return {"item_id": _identifier(cells[at]), "text": text, "attributes": attributes}

    return _rows(table, item)


def has_title(table: Table, options: ReadOptions) -> bool:
    """Whether a table of interactions also says what its items are called."""
    return bool(options.text) or find(table.columns, TELLING_TITLES) is not None


def title_rows(table: Table, options: ReadOptions) -> Iterator[Row]:
    """Items told by a table of interactions. Its broken rows are left to whoever reads the interactions."""
    text = options.text or tuple(table.columns[i] for i in [find(table.columns, TELLING_TITLES)] if i is not None)
    at = _place(table, "item_id", options)
    places = [_named(table, name) for name in text]
    seen: set[object] = set()
    for line, cells in table.rows:
        if isinstance(cells, BadEvent) or at is None or str(cells[at]) in seen or cells[at] in (None, ""):
            continue
        seen.add(str(cells[at]))
        words = item_text(cells[places[0]], None, [cells[i] for i in places[1:]])
        yield Row(table.file, line, {"item_id": _identifier(cells[at]), "text": words})


def _rows(table: Table, record: Callable[[Sequence[object]], Mapping[str, object]]) -> Iterator[Row]:
    for line, cells in table.rows:
        yield Row(table.file, line, cells if isinstance(cells, BadEvent) else record(cells))


def _place(table: Table, name: str, options: ReadOptions) -> int | None:
    told: str | None = getattr(options, name)
    if told is not None:
        return _named(table, told)
    place = find(table.columns, ALIASES[name])
    if place is None and name in REQUIRED:
        raise DataError(_missing(table, name))
    return place


def _named(table: Table, column: str) -> int:
    if column not in table.columns:
        raise DataError(f"{table.file} has no column {column!r}; it has: {', '.join(table.columns) or 'none'}")
    return table.columns.index(column)


def _missing(table: Table, name: str) -> str:
    found = ", ".join(table.columns) or "none"
    return (
        f"{table.file} has no column that looks like {name}; its columns are: {found}. "
        f"Say which one it is: --set data.columns.{name}=COLUMN (or rename it to {name})"
    )


def _text_places(table: Table, item_at: int, options: ReadOptions) -> tuple[int | None, int | None, list[int]]:
    """Positions of title, year and the other describing columns."""
    if options.text:
        first, *others = (_named(table, column) for column in options.text)
        return first, None, others
    title, year = find(table.columns, TITLES), find(table.columns, YEARS)
    words = [i for alias in WORDS if (i := find(table.columns, [alias])) is not None]
    if title is None and not words:
        words = [i for i in range(len(table.columns)) if i not in (item_at, year)]
    return title, year, words


def _at(cells: Sequence[object], place: int | None) -> object:
    return None if place is None else cells[place]


def _identifier(cell: object) -> object:
    """Column stores turn whole numbers into floats as soon as one is missing."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell.strip() if isinstance(cell, str) else cell


def _number(cell: object) -> object:
    return float(cell) if isinstance(cell, Decimal) else cell


def _moment(cell: object) -> object:
    """A time as seconds since 1970; one without a zone is UTC."""
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
