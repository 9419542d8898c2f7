"""Meaning of the fields of an item: of the columns of a table, or of the keys of one JSON object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.datasets.item_text import item_text
from pipeline.datasets.readers.names import ALIASES, ITEM_MOMENTS, TITLES, WORDS, YEARS, plain
from pipeline.datasets.readers.rows import ReadOptions

TEXT = "text"
"""Key of a JSON object that holds the whole text, unless there is a title."""

ATTRIBUTES = "attributes"
"""Key of a JSON object that holds further attributes as an object."""

NO_ATTRIBUTES = ("schema",)
"""Keys of JSON objects, as the pipeline writes them, that say nothing about the item."""


def find(columns: Sequence[str], aliases: Sequence[str]) -> int | None:
    """Return the place of the column with the first of these names that occurs, or None."""
    names = [plain(column) for column in columns]
    return next((names.index(alias) for alias in aliases if alias in names), None)


@dataclass(frozen=True)
class ItemFields:
    """Places of the fields of an item.

    Attributes:
        item: place of the id; None: there is none.
        moments: name of a moment -> its place.
        title, year: places of these parts of the text, or None.
        words: places of the further parts of the text, in their order.
        rest: place and name of each attribute.
        is_whole_text: True if the place of the title holds the whole text.
    """

    item: int | None
    moments: Mapping[str, int]
    title: int | None
    year: int | None
    words: Sequence[int]
    rest: Sequence[tuple[int, str]]
    is_whole_text: bool = False

    @classmethod
    def of_columns(cls, columns: Sequence[str], options: ReadOptions) -> "ItemFields":
        """Fields of a table with these columns; without a title or a known word, every other column is text."""
        return _fields(columns, options, is_object=False)

    @classmethod
    def of_object(cls, keys: Sequence[str], options: ReadOptions) -> "ItemFields":
        """Fields of a JSON object with these keys, whose values are not null; unknown keys are attributes."""
        return _fields(keys, options, is_object=True)

    def record(self, cells: Sequence[object]) -> dict[str, object]:
        """Return the cells of one item, fit for `parse_item`."""
        title, year = [None if place is None else cells[place] for place in (self.title, self.year)]
        return {
            "item_id": None if self.item is None else cells[self.item],
            "text": item_text(title, year, [cells[place] for place in self.words]),
            "attributes": {name: cells[place] for place, name in self.rest if cells[place] not in (None, "")},
            **{name: cells[place] for name, place in self.moments.items()},
        }

    def object_record(self, cells: Sequence[object]) -> dict[str, object]:
        """Return the values of one JSON object, fit for `parse_item`: `attributes` in it are attributes themselves."""
        record = self.record(cells)
        attributes = record["attributes"]
        assert isinstance(attributes, dict)
        nested = attributes.pop(ATTRIBUTES, {})
        if self.is_whole_text and self.title is not None and not isinstance(cells[self.title], str):
            # Refused by `parse_item`.
            record["text"] = cells[self.title]
        if not isinstance(nested, Mapping):
            return {**record, "attributes": nested}
        given = {name: value for name, value in nested.items() if value not in (None, "")}
        return {**record, "attributes": attributes | given}


def _fields(columns: Sequence[str], options: ReadOptions, *, is_object: bool) -> ItemFields:
    named = find(columns, [plain(options.item_id)]) if options.item_id else None
    item = find(columns, (*ALIASES["item_id"], "id")) if named is None else named
    taken = {item, *(place for place, column in enumerate(columns) if column in options.text)}
    found = {name: find(columns, aliases) for name, aliases in ITEM_MOMENTS.items()}
    moments = {name: place for name, place in found.items() if place is not None and place not in taken}
    title, year, words = _texts(columns, options, {item, *moments.values()}, is_object=is_object)
    used = {item, title, year, *words, *moments.values()}
    unused = NO_ATTRIBUTES if is_object else ()
    rest = [(place, name) for place, name in enumerate(columns) if place not in used and name not in unused]
    is_whole_text = is_object and not options.text and title is not None and plain(columns[title]) == TEXT
    return ItemFields(item, moments, title, year, words, rest, is_whole_text)


def _texts(
    columns: Sequence[str], options: ReadOptions, taken: set[int | None], *, is_object: bool
) -> tuple[int | None, int | None, list[int]]:
    """Return the places of title, year and the other descriptive columns."""
    if options.text:
        named = [columns.index(column) for column in options.text if column in columns]
        return (named[0] if named else None), None, named[1:]
    title, year = find(columns, TITLES), find(columns, YEARS)
    whole = find(columns, [TEXT])
    if is_object and title is None and whole is not None:
        return whole, None, []
    words = [place for alias in WORDS if (place := find(columns, [alias])) is not None]
    if title is None and not words:
        words = [] if is_object else [place for place in range(len(columns)) if place not in (year, *taken)]
    return title, year, [place for place in words if place not in taken]
