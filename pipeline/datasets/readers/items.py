"""Files of items."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.datasets.readers.columns import ItemColumns
from pipeline.datasets.readers.json_text import json_table
from pipeline.datasets.readers.parquet import parquet_table
from pipeline.datasets.readers.rows import ColumnUse, ReadOptions, Row
from pipeline.datasets.readers.sniff import item_table
from pipeline.datasets.readers.table import Table

JSON = (".jsonl", ".ndjson", ".json")
"""Endings of files of JSON objects."""


def read_items(path: Path, options: ReadOptions, delimiter: str | None = None) -> tuple[Iterable[Row], ColumnUse]:
    """Open a file of items; return its rows, fit for `parse_item`, and the use of its columns.

    Args:
        path: the file.
        options: columns that the user names.
        delimiter: text between two cells; None: guessed.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    columns = ItemColumns(_open(path, delimiter), options)
    return columns.rows(), columns.use()


def _open(path: Path, delimiter: str | None) -> Table:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return parquet_table(path)
    return json_table(path, lambda _: True) if suffix in JSON else item_table(path, delimiter)
