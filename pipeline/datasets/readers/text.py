"""Delimited text files as tables, read in blocks.

A block without oddities is parsed by pyarrow; any other line by line, so that a broken line costs itself only.
"""

import csv
import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from pipeline.datasets.readers.arrow import column
from pipeline.datasets.readers.blocks import Dialect, decoded, parse_block
from pipeline.datasets.readers.table import Chunk, Kind
from pipeline.errors import BadEvent, DataError

BLOCK = 1 << 25
"""Bytes that are parsed at a time."""

ROWS = 50_000
"""Rows of a chunk that is parsed line by line."""

HEAD = 1 << 18
"""Bytes from which the form of a file is recognised."""

BOM = b"\xef\xbb\xbf"
COMMENT = re.compile(rb"(?:[%#][^\n]*(?:\n|\Z)|[ \t\r]*\n)+")
"""Comments and blank lines at the start of a file."""

Record = tuple[int, int, list[tuple[int, BadEvent]], list[str] | None]
"""Line, place behind it, errors by line, and cells: None if it is blank or broken."""


@contextmanager
def content(path: Path) -> Iterator[Any]:
    """Open the bytes of a file: an object with `find` and slices.

    Raises:
        DataError: the file cannot be read, or it is empty.
    """
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise DataError(f"{path} is empty: a dataset needs at least one interaction")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def head(path: Path) -> list[str]:
    """Return the first complete lines of a file, without comments.

    Raises:
        DataError: the file cannot be read, or holds nothing but white space.
    """
    with content(path) as data:
        start = beginning(data)
        first = data[start : start + HEAD]
        if len(data) > start + HEAD and b"\n" in first:
            first = first[: first.rindex(b"\n")]
    lines = [decoded(line) for line in first.split(b"\n")]
    if not any(line.strip() for line in lines):
        raise DataError(f"{path} is empty, or begins with white space only: a dataset needs at least one interaction")
    return lines


def beginning(data: Any) -> int:
    """Return the place behind a byte order mark and comments."""
    start = len(BOM) if data[: len(BOM)] == BOM else 0
    found = COMMENT.match(data, start) if data[start : start + 1] in (b"%", b"#") else None
    return found.end() if found else start


@dataclass(frozen=True)
class Layout:
    """Form of a delimited file.

    Attributes:
        delimiter: text between two cells; " " stands for any run of white space.
        width: number of columns.
        header: number of lines before the first row that are no rows: 1 with column names, else 0.
        quoted: True if `"` may enclose a cell, as in CSV.
        samples: some cells of each column, from which its type is recognised.
    """

    delimiter: str
    width: int
    header: int
    quoted: bool
    samples: Sequence[Sequence[str]]


def read_text(path: Path, layout: Layout, kinds: Mapping[int, Kind]) -> Iterator[Chunk]:
    """Yield the chunks of a delimited file.

    Raises:
        DataError: the file cannot be read.
    """
    with content(path) as data:
        start = beginning(data)
        dialect = Dialect.of(layout, data, kinds)
        at, line = start, 1 + data[:start].count(b"\n")
        for _ in range(layout.header):
            at, line = _behind_row(data, at, line, dialect)
        while at < len(data):
            end = _block_end(data, at)
            block = data[at:end]
            chunk = parse_block(block, line, dialect)
            if chunk is not None:
                line += len(chunk.lines) if isinstance(chunk.lines, range) else block.count(b"\n")
                yield chunk
                at = end
            else:
                stop = yield from _by_record(data, at, end, line, dialect)
                line += _lines(data, at, stop)
                at = stop


def _behind_row(data: Any, at: int, line: int, dialect: Dialect) -> tuple[int, int]:
    """Return the place and line behind the first record that is not blank."""
    cells, stop = None, at
    while cells is None and stop < len(data):
        stop, _, cells = next_record(data, stop, line, dialect)
    return stop, line + _lines(data, at, stop)


def _lines(data: Any, at: int, end: int) -> int:
    return int(data[at:end].count(b"\n"))


def _block_end(data: Any, at: int) -> int:
    if at + BLOCK >= len(data):
        return len(data)
    newline = data.rfind(b"\n", at, at + BLOCK)
    if newline < 0:
        newline = data.find(b"\n", at)
    return newline + 1 if newline >= 0 else len(data)


def _by_record(data: Any, at: int, end: int, line: int, dialect: Dialect) -> Any:
    """Yield chunks of the records from a place on, one parsed after the other; return the place behind the last."""
    rows: list[Sequence[str]] = []
    lines: list[int] = []
    broken: list[tuple[int, BadEvent]] = []
    for line_, stop, found, cells in _records(data, at, end, line, dialect):
        at = stop
        if cells is not None and len(cells) == dialect.width:
            rows.append(cells)
            lines.append(line_)
        elif cells is not None:
            found_width = f"expected {dialect.width} columns, found {len(cells)}"
            broken.append((line_, BadEvent("wrong_columns", found_width)))
        broken += found
        if len(rows) >= ROWS:
            yield _chunk(rows, lines, broken, dialect)
            rows, lines, broken = [], [], []
    if rows or broken:
        yield _chunk(rows, lines, broken, dialect)
    return at


def _records(data: Any, at: int, end: int, line: int, dialect: Dialect) -> Iterator[Record]:
    """Yield the records that begin between two places.

    One csv reader takes them in turn. From the first one on that it cannot parse, each is searched for by itself.
    """
    if dialect.quoted:
        data.seek(at)
        counts = [0, 0]
        reader = dialect.reader(_counted(data, counts))
        try:
            while at < end:
                cells = next(reader)
                is_blank = len(cells) < 2 and not "".join(cells).strip()
                at, counts[0] = at + counts[0], 0
                yield line, at, [], None if is_blank else cells
                line, counts[1] = line + counts[1], 0
            return
        except (csv.Error, StopIteration):
            pass
    while at < end:
        stop, found, record = next_record(data, at, line, dialect)
        yield line, stop, found, record
        line += _lines(data, at, stop)
        at = stop


def _counted(data: Any, counts: list[int]) -> Iterator[str]:
    """Yield the lines from the current place on, and add up their bytes and number."""
    for raw in iter(data.readline, b""):
        counts[0] += len(raw)
        counts[1] += 1
        yield decoded(raw.removesuffix(b"\n")) + "\n"


def _chunk(rows: list[Sequence[str]], lines: list[int], broken: list[tuple[int, BadEvent]], dialect: Dialect) -> Chunk:
    texts = {place: pyarrow.array([cells[place] for cells in rows], pyarrow.string()) for place in dialect.kinds}
    columns = {place: column(texts[place], kind) for place, kind in dialect.kinds.items()}
    return Chunk(columns, np.array(lines, dtype=np.int64), broken)


def next_record(
    data: Any, at: int, line: int, dialect: Dialect
) -> tuple[int, list[tuple[int, BadEvent]], list[str] | None]:
    """Return the place behind the record at a place, the errors of its lines, and its cells unless it is broken.

    A quoted cell may have any number of lines. The lines inside one are never records, even if it is broken: only a
    quote that is never closed costs its own line alone.
    """
    newline = data.find(b"\n", at)
    stop = len(data) if newline < 0 else newline + 1
    raw = data[at:stop]
    text = decoded(raw.removesuffix(b"\n"))
    if not text.strip():
        return stop, [], None
    if not dialect.quoted or '"' not in text:
        return stop, [], dialect.split(text)
    try:
        return stop, [], dialect.parse(text)
    except csv.Error as error:
        problem = error
    behind = dialect.record_end(data, at)
    if behind is None:
        return stop, [(line, _bad_quotes(problem))], None
    record = data[at:behind].removesuffix(b"\n").replace(b"\r\n", b"\n")
    try:
        return behind, [], dialect.parse(decoded(record))
    except csv.Error as error:
        is_long = "field limit" in str(error)
        count = 1 if is_long else sum(1 for part in record.split(b"\n") if part.strip())
        return behind, [(line + n, _bad_quotes(error)) for n in range(count)], None


def _bad_quotes(error: Exception) -> BadEvent:
    return BadEvent("bad_quotes", f"a quoted cell is broken: {error}")
