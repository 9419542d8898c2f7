"""The registry of dataset formats.

A new format is one module with a `READERS` tuple in this package, and its name in `FORMATS`.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from pipeline.datasets.readers.items import read_items
from pipeline.datasets.readers.rows import Reader, ReadOptions, Source
from pipeline.errors import DataError

FORMATS = ("recbole", "movielens", "generic")
"""Modules of this package, in the order in which they are tried; `generic` is last since it opens most files."""


def open_source(path: Path, options: ReadOptions) -> Source:
    """Read a path with the first reader that recognises it.

    Raises:
        DataError: no reader recognises the path, or a column is missing or doubtful.
    """
    for reader in readers():
        if reader.recognises(path):
            return _with_items(reader.read(path, options), options)
    names = sorted(f"{file.name}{'/' * file.is_dir()}" for file in path.iterdir()) if path.is_dir() else [path.name]
    found = ", ".join(names[:10])
    *first, last = (reader.expects for reader in readers())
    raise DataError(
        f"{path} is in no known format (found: {found or 'nothing'}). Expected {', '.join(first)}, or {last}; "
        "docs/datasets.md describes each"
    )


def _with_items(source: Source, options: ReadOptions) -> Source:
    if options.items is None:
        return source
    rows, use = read_items(options.items, options)
    return replace(source, items=rows, uses=(*source.uses, use))


def readers() -> Iterator[Reader]:
    """Yield the readers of all formats, in the order in which they are tried."""
    for name in FORMATS:
        yield from import_module(f"{__package__}.{name}").READERS
