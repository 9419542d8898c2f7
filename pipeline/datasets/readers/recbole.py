"""Reader of RecBole's atomic files: tab-separated, every column named `name:type`."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

from pipeline.datasets.readers.columns import TITLES, interaction_rows, item_rows, plain
from pipeline.datasets.readers.delimited import Table, delimited
from pipeline.datasets.readers.rows import Reader, ReadOptions, Source
from pipeline.errors import BadEvent


def is_recbole(path: Path) -> bool:
    """Return True for a folder with `.inter` files, or one such file."""
    return bool(_with_suffix(path, ".inter"))


def read_recbole(path: Path, options: ReadOptions) -> Source:
    """Read `NAME.inter` (or its parts, `NAME.train.inter` and so on) and, in a folder, `NAME.item`."""
    interactions = [interaction_rows(_atomic(file), options) for file in _with_suffix(path, ".inter")]
    items = [item_rows(_atomic(file), options) for file in _with_suffix(path, ".item")]
    return Source(chain(*interactions), chain(*items))


def _with_suffix(path: Path, suffix: str) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob(f"*{suffix}"))
    return [path] if path.suffix == suffix else []


def _atomic(file: Path) -> Table:
    """Read a table; column names lose their types, and sequences of tokens become lists."""
    table = delimited(file, "\t", quoted=False)
    names = tuple(column.rpartition(":")[0] or column for column in table.columns)
    lists = [
        i
        for i, (name, column) in enumerate(zip(names, table.columns, strict=True))
        if column.endswith(":token_seq") and plain(name) not in TITLES
    ]
    rows = ((line, cells if isinstance(cells, BadEvent) else _split(list(cells), lists)) for line, cells in table.rows)
    return replace(table, columns=names, rows=rows)


def _split(cells: list[object], columns: list[int]) -> list[object]:
    for column in columns:
        cells[column] = str(cells[column]).split()
    return cells


READERS = (Reader("NAME.inter", is_recbole, read_recbole),)
