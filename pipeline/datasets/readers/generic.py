"""Reader of generic logs: text, JSON or Parquet, one or several files of interactions, optionally one of items."""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.datasets.readers.columns import bind, use_of
from pipeline.datasets.readers.files import SUFFIXES, is_log_name, visible
from pipeline.datasets.readers.items import JSON, read_items
from pipeline.datasets.readers.json_text import json_table
from pipeline.datasets.readers.names import ALIASES, ITEM_TITLES, REVIEWS, plain
from pipeline.datasets.readers.parquet import parquet_table
from pipeline.datasets.readers.rows import Reader, ReadOptions, Source
from pipeline.datasets.readers.sniff import interaction_table
from pipeline.datasets.readers.table import Table
from pipeline.errors import DataError

INTERACTIONS = ("interactions", "ratings", "events", "reviews", "transactions", "clicks")
ITEMS = ("items", "movies", "products", "books", "songs", "articles", "news", "metadata", "meta")
PARTS = ("train", "training", "valid", "validation", "val", "dev", "test")
"""Names of files that are parts of one log."""

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_ITEM_WORDS = frozenset(name for stem in ITEMS for name in (stem, stem.removesuffix("s")))
_ITEM_MORE = frozenset(("info", "catalog", "catalogue", "details", "data", "list"))
_NUMBERS = re.compile(r"[-_. ][0-9a-f]*[0-9][0-9a-f]*(?=[-_. ]|$)|[0-9]+")
_WORDS = re.compile(r"[^a-z]+")
_KNOWN = frozenset(alias for aliases in ALIASES.values() for alias in aliases) | {*ITEM_TITLES, *REVIEWS}


def is_generic(path: Path) -> bool:
    """Return True for a file of interactions in a supported format, or a folder with one.

    Raises:
        DataError: a folder holds several files that can be the log.
    """
    return bool(_interactions(path))


def read_generic(path: Path, options: ReadOptions) -> Source:
    """Read the files of interactions of a folder, or one file.

    Items come from the item file, else from a title column of the interactions.

    Raises:
        DataError: a column is missing or doubtful; the message names the columns found and the setting that maps one.
    """
    files = _interactions(path)
    items = _items(path) if path.is_dir() and options.items is None else None
    has_items = items is not None or options.items is not None
    tables = [bind(_open(file, options), options, has_items=has_items) for file in files]
    _refuse_mixed([bound.table for bound in tables])
    several = [f"and {len(files) - 1} more files, the parts of one log"] if len(files) > 1 else []
    uses = (use_of(tables[0], several),)
    if items is None:
        return Source(tables, None, uses)
    rows, use = read_items(items, options)
    return Source(tables, rows, (*uses, use))


def _open(file: Path, options: ReadOptions) -> Table:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return parquet_table(file)
    if suffix in JSON:
        named = {*options.named.values(), *options.text}
        return json_table(file, lambda key: plain(key) in _KNOWN or key in named)
    return interaction_table(file, options)


def _refuse_mixed(tables: Sequence[Table]) -> None:
    different = [table for table in tables if set(table.columns) != set(tables[0].columns)]
    if different:
        first, other = tables[0], different[0]
        raise DataError(
            f"{first.file} and {other.file} have different columns ({', '.join(first.columns)}; "
            f"{', '.join(other.columns)}), so they are no parts of one log: name one file with --data"
        )


def _interactions(path: Path) -> list[Path]:
    """Return the files of interactions at a path, none where there is none.

    Raises:
        DataError: a folder holds several files that can be the log.
    """
    if path.is_file():
        return [path] if is_log_name(path.name) else []
    named = _named(path, INTERACTIONS)
    if named is not None:
        return [named]
    files = [file for file in visible(path) if is_log_name(file.name) and file.name != "truth.json"]
    others = [file for file in files if not _is_item_file(file)]
    likely = [file for file in others if set(_words(file)) & {*INTERACTIONS, *PARTS}]
    for found in (others, likely):
        if len(found) == 1 or (found and _are_parts(found)):
            return found
    if others:
        raise DataError(_several(path, others))
    return []


def _several(path: Path, files: Sequence[Path]) -> str:
    names = ", ".join(file.name for file in files[:10])
    first, *rest = files
    return (
        f"{path} holds several files that can be the log: {names}. Name it: --data {path / first.name}; if one of them "
        f"holds the items, name that too: --items {path / rest[-1].name}"
    )


def _are_parts(files: Sequence[Path]) -> bool:
    """Return True for parts of one log by their names: `part-0`, `part-1`; `train`, `test`; `2019-Oct`, `2019-Nov`."""
    suffixes = {file.suffix.lower() for file in files}
    if len(suffixes) > 1:
        return False
    stems = {_NUMBERS.sub("", file.stem.lower()).strip("-_. ") for file in files}
    words = [_words(file) for file in files]
    rest = {tuple(word for word in some if word not in (*PARTS, *MONTHS)) for some in words}
    is_named = all(set(some) & {*PARTS, *MONTHS} for some in words)
    return len(stems) == 1 or (len(rest) == 1 and is_named)


def _is_item_file(file: Path) -> bool:
    """Return True for names such as `items`, `item_meta` and `movie-catalogue`."""
    words = set(_words(file))
    return bool(words & _ITEM_WORDS) and words <= _ITEM_WORDS | _ITEM_MORE


def _words(file: Path) -> list[str]:
    return [word for word in _WORDS.split(file.stem.lower()) if word]


def _items(folder: Path) -> Path | None:
    """Return the file of items of a folder.

    Raises:
        DataError: there are several, and none has a usual name.
    """
    named = _named(folder, ITEMS)
    if named is not None:
        return named
    files = [file for file in visible(folder) if is_log_name(file.name) and _is_item_file(file)]
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{folder} holds several files of items: {names}. Name one: --items {folder / files[0].name}")
    return files[0] if files else None


def _named(folder: Path, stems: tuple[str, ...]) -> Path | None:
    files = {file.name.lower(): file for file in visible(folder)}
    return next((files[s + suffix] for s in stems for suffix in SUFFIXES if s + suffix in files), None)


READERS = (Reader("interactions.csv, .tsv, .jsonl or .parquet", is_generic, read_generic),)
