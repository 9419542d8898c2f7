"""Reader of RecBole's atomic files: tab-separated, every column named `name:type`."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.datasets.readers.columns import ItemColumns, bind, use_of
from pipeline.datasets.readers.files import visible
from pipeline.datasets.readers.names import ALIASES, TITLES, plain
from pipeline.datasets.readers.rows import Reader, ReadOptions, Source, every_interaction
from pipeline.datasets.readers.sniff import interaction_table, item_table
from pipeline.datasets.readers.table import Chunk, Coded, Kind, Table
from pipeline.events.interactions import Interactions

LABEL = "label"
"""Column of clicks (1) and impressions without a click (0)."""


def is_recbole(path: Path) -> bool:
    """Return True for a folder with `.inter` files, or one such file."""
    return bool(_with_suffix(path, ".inter"))


def read_recbole(path: Path, options: ReadOptions) -> Source:
    """Read `NAME.inter` (or its parts, `NAME.train.inter` and so on) and, in a folder, `NAME.item`.

    A column `label` is the value where there is no rating; from 1 on an interaction is positive.
    """
    interactions = [_atomic(interaction_table(file, ReadOptions(), "\t")) for file in _with_suffix(path, ".inter")]
    files = _with_suffix(path, ".item") if path.is_dir() and options.items is None else []
    items = [ItemColumns(_atomic(item_table(file, "\t", quoted=False)), options) for file in files]
    is_labelled = any(_is_labelled(table, options) for table in interactions)
    chosen = replace(options, value=LABEL) if is_labelled else options
    tables = [bind(table, chosen, has_items=bool(items) or options.items is not None) for table in interactions]
    notes = ["label is 1 for a positive interaction"] if is_labelled else []
    uses = (use_of(tables[0], notes), *(columns.use() for columns in items))
    rows = chain(*(columns.rows() for columns in items)) if items else None
    return Source(tables, rows, uses, _clicks if is_labelled else every_interaction)


def _is_labelled(table: Table, options: ReadOptions) -> bool:
    has_value = any(plain(column) in ALIASES["value"] for column in table.columns)
    return options.value in (None, LABEL) and LABEL in table.columns and (options.value == LABEL or not has_value)


def _clicks(events: Interactions) -> float | None:
    """Return 1 where all values are 0 or 1."""
    return 1.0 if bool(np.isin(events.values[~np.isnan(events.values)], (0.0, 1.0)).all()) else None


def _with_suffix(path: Path, suffix: str) -> list[Path]:
    if path.is_dir():
        return [file for file in visible(path) if file.name.endswith(suffix)]
    return [path] if path.suffix == suffix else []


def _atomic(table: Table) -> Table:
    """Return a table whose column names have lost their types, and whose sequences of tokens are lists."""
    names = tuple(column.rpartition(":")[0] or column for column in table.columns)
    lists = {
        place
        for place, (name, column) in enumerate(zip(names, table.columns, strict=True))
        if column.endswith(":token_seq") and plain(name) not in TITLES
    }
    return replace(table, columns=names, read=partial(_split, table, lists))


def _split(table: Table, lists: set[int], kinds: dict[int, Kind]) -> Iterator[Chunk]:
    for chunk in table.read(kinds):
        columns = dict(chunk.columns)
        for place in lists & columns.keys():
            column = columns[place]
            if isinstance(column, Coded):
                columns[place] = Coded(column.codes, [str(cell).split() for cell in column.cells])
        yield replace(chunk, columns=columns)


READERS = (Reader("NAME.inter", is_recbole, read_recbole),)
