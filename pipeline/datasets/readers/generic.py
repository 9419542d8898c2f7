"""Reader of generic logs: CSV, TSV, JSON lines or Parquet, one file of interactions and optionally one of items."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.datasets.readers.columns import ALIASES, find, has_title, interaction_rows, item_rows, title_rows
from pipeline.datasets.readers.delimited import Table, common_width, delimited, guess_delimiter, json_lines, read_lines
from pipeline.datasets.readers.parquet import parquet
from pipeline.datasets.readers.rows import Reader, ReadOptions, Source
from pipeline.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".txt", ".dat", ".data", ".log")
INTERACTIONS = ("interactions", "ratings", "events", "reviews", "transactions", "clicks")
ITEMS = ("items", "movies", "products", "books", "songs", "articles", "news", "metadata", "meta")

WITHOUT_HEADER = {
    3: ("user_id", "item_id", "timestamp"),
    4: ("user_id", "item_id", "value", "timestamp"),
}
"""Columns of interaction files without a header, by number of columns."""

ITEMS_WITHOUT_HEADER = {2: ("item_id", "title"), 3: ("item_id", "title", "genres")}
"""Columns of item files without a header, by number of columns."""


def is_generic(path: Path) -> bool:
    """Return True for a file of interactions in a supported format, or a folder with one."""
    return _interactions(path) is not None


def read_generic(path: Path, options: ReadOptions) -> Source:
    """Read `interactions.*` and `items.*` of a folder, or one file.

    Items come from the item file, else from a title column of the interactions.

    Raises:
        DataError: a column is missing; the message names it, the columns found and the setting that maps it.
    """
    file = _interactions(path)
    if file is None:
        raise DataError(f"{path} holds no file of interactions")
    items = _named(path, ITEMS) if path.is_dir() else None
    table = _open(file, WITHOUT_HEADER)
    rows = interaction_rows(table, options)
    if items is not None:
        return Source(rows, item_rows(_open(items, ITEMS_WITHOUT_HEADER), options))
    # A second table, because the rows of a table can be read once only.
    return Source(rows, title_rows(_open(file, WITHOUT_HEADER), options) if has_title(table, options) else ())


def _interactions(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() in SUFFIXES else None
    named = _named(path, INTERACTIONS)
    if named is not None:
        return named
    files = [f for f in sorted(path.iterdir()) if f.suffix.lower() in SUFFIXES and f.name != "truth.json"]
    others = [file for file in files if file.stem.lower() not in ITEMS]
    return others[0] if len(others) == 1 else None


def _named(folder: Path, stems: tuple[str, ...]) -> Path | None:
    files = {file.name.lower(): file for file in sorted(folder.iterdir())}
    return next((files[s + suffix] for s in stems for suffix in SUFFIXES if s + suffix in files), None)


def _open(file: Path, without_header: Mapping[int, tuple[str, ...]]) -> Table:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return parquet(file)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return json_lines(file)
    lines = read_lines(file)
    delimiter = "\t" if suffix == ".tsv" else guess_delimiter(lines)
    if _has_header(lines, delimiter):
        return delimited(file, delimiter)
    return delimited(file, delimiter, without_header.get(common_width(lines, delimiter)))


def _has_header(lines: list[str], delimiter: str) -> bool:
    """Return True if the first line holds column names: it has no number, or it names the item's column."""
    cells = next(line for line in lines if line.strip()).split(delimiter)
    has_number = any(cell.strip().replace(".", "", 1).isdigit() for cell in cells)
    return not has_number or find(cells, (*ALIASES["item_id"], "id")) is not None


READERS = (Reader("interactions.csv, .tsv, .jsonl or .parquet", is_generic, read_generic),)
