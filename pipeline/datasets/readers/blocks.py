"""Blocks of delimited text, parsed as a whole by pyarrow where that gives what parsing line by line gives."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow
import pyarrow.csv

from pipeline.datasets.readers.arrow import column
from pipeline.datasets.readers.table import Chunk, Kind
from pipeline.errors import BadEvent
from pipeline.events.cells import NUMBER, iso_moment

if TYPE_CHECKING:
    from pipeline.datasets.readers.text import Layout

TEXT = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
ONE_BYTE = "\x1f"
"""Delimiter that stands for `::` and runs of white space while pyarrow parses."""

QUOTE, NEWLINE = ord('"'), ord("\n")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_ZONE = re.compile(r"(Z|[+-]\d{2}:\d{2})$")


@dataclass
class Dialect:
    """Rules by which lines become cells.

    Attributes:
        delimiter: text between two cells; " " stands for any run of white space.
        width: number of columns.
        quoted: True if `"` may enclose a cell.
        escaped: True if a backslash marks a quote inside a quoted cell, as in files that Spark writes.
        spaced: True if spaces stand between a delimiter and a quoted cell.
        kinds: columns asked for, by place.
        types: their pyarrow types, as the first rows show them.
        as_text: True from the first block on in which a number or time is something else.
        unclosed: True from the first quote on that is never closed: behind it, none is.
    """

    delimiter: str
    width: int
    quoted: bool
    escaped: bool
    spaced: bool
    kinds: Mapping[int, Kind]
    types: Mapping[int, Any]
    as_text: bool = False
    unclosed: bool = False

    @classmethod
    def of(cls, layout: "Layout", data: Any, kinds: Mapping[int, Kind]) -> "Dialect":
        """Return the dialect of a file with this layout and content."""
        mark = re.escape(layout.delimiter.encode())
        # A quote before other text than this neither closes a cell nor is a doubled one.
        inside = rb'"(?!' + mark + rb'|[\r\n"]|\Z)'
        quotes = layout.quoted and data.find(b'"') >= 0
        escaped = quotes and re.search(rb"\\" + inside, data) is not None
        spaced = quotes and re.search(mark + b" +" + inside, data) is not None
        types = {place: _type(layout.samples[place], kind) for place, kind in kinds.items()}
        return cls(layout.delimiter, layout.width, layout.quoted, escaped, spaced, kinds, types)

    def text_type(self, place: int) -> Any:
        """Return the pyarrow type of a column that is read as text."""
        return TEXT if self.kinds[place] == "text" else pyarrow.string()

    def split(self, text: str) -> list[str]:
        """Return the cells of a line without quotes."""
        return text.split() if self.delimiter == " " else text.split(self.delimiter)

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Return an iterator over the cells of records with quotes; it raises `csv.Error` at a broken one."""
        escape = "\\" if self.escaped else None
        form: dict[str, Any] = {"delimiter": self.delimiter, "escapechar": escape, "skipinitialspace": self.spaced}
        return csv.reader(lines, strict=True, **form)

    def parse(self, record: str) -> list[str]:
        """Return the cells of a record with quotes.

        Raises:
            csv.Error: a quoted cell is broken.
        """
        rows = list(self.reader([record]))
        return rows[0] if rows else []

    def record_end(self, data: Any, at: int) -> int | None:
        """Return the place behind the record at a place, None if its last quote is never closed."""
        mark = self.delimiter.encode()
        while True:
            while self.spaced and data[at : at + 1] == b" ":
                at += 1
            if data[at : at + 1] == b'"':
                closed = None if self.unclosed else self._closing(data, at + 1, mark)
                if closed is None:
                    self.unclosed = True
                    return None
                at = closed + 1
            newline = data.find(b"\n", at)
            newline = len(data) if newline < 0 else newline
            behind = data.find(mark, at, newline)
            if behind < 0:
                return min(newline + 1, len(data))
            at = behind + len(mark)

    def _closing(self, data: Any, at: int, mark: bytes) -> int | None:
        """Return the place of the quote that closes the cell whose content begins at a place.

        A quote that no delimiter and no line end follows is text.
        """
        while (at := data.find(b'"', at)) >= 0:
            behind = data[at + 1 : at + 2]
            if self.escaped and _backslashes(data, at) % 2:
                at += 1
            elif behind == b'"':
                at += 2
            elif behind in (b"", b"\n", b"\r") or data[at + 1 : at + 1 + len(mark)] == mark:
                return int(at)
            else:
                at += 1
        return None


def _backslashes(data: Any, at: int) -> int:
    """Return the number of backslashes directly before a place."""
    start = at
    while start > 0 and data[start - 1 : start] == b"\\":
        start -= 1
    return at - start


def decoded(line: bytes) -> str:
    """Return a line as text: UTF-8, or else latin-1, without its line end."""
    line = line.removesuffix(b"\r")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def parse_block(block: bytes, line: int, dialect: Dialect) -> Chunk | None:
    """Return the rows of a block of whole lines, None where they must be parsed one by one."""
    has_quotes = dialect.quoted and b'"' in block
    if has_quotes and (
        dialect.escaped or dialect.spaced or len(dialect.delimiter) > 1 or not _simple(block, dialect.delimiter)
    ):
        return None
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
    if b"\r" in block or not _is_utf8(block):
        return None
    delimiter = dialect.delimiter
    if len(delimiter) > 1 or delimiter == " ":
        if ONE_BYTE.encode() in block:
            return None
        block = _one_byte(block, delimiter)
        delimiter = ONE_BYTE
    columns = _any_columns(block, delimiter, dialect, has_quotes)
    rows = block.count(b"\n") + (not block.endswith(b"\n"))
    if columns is not None and columns.num_rows == rows:
        return _chunk(columns, range(line, line + rows), dialect)
    return None if has_quotes else _without_broken(block, line, delimiter, dialect)


def _without_broken(block: bytes, line: int, delimiter: str, dialect: Dialect) -> Chunk | None:
    """Return the rows of a block some of whose lines have another number of columns."""
    mark, good, lines, broken = delimiter.encode(), [], [], []
    for number, text in enumerate(block.split(b"\n"), start=line):
        width = text.count(mark) + 1
        if width == dialect.width and text:
            good.append(text)
            lines.append(number)
        elif decoded(text).strip():
            broken.append((number, BadEvent("wrong_columns", f"expected {dialect.width} columns, found {width}")))
    kept = b"\n".join(good) + b"\n"
    columns = _any_columns(kept, delimiter, dialect, False) if good else None
    if columns is None or columns.num_rows != len(good):
        return None
    return _chunk(columns, np.array(lines, dtype=np.int64), dialect, broken)


def _any_columns(block: bytes, delimiter: str, dialect: Dialect, quoted: bool) -> Any:
    """Return the columns of a block, with numbers and times as text if one of their cells is something else."""
    columns = None if dialect.as_text else _columns(block, delimiter, dialect, quoted)
    if columns is None:
        columns = _columns(block, delimiter, dialect, quoted, texts=True)
        dialect.as_text |= columns is not None
    return columns


def _columns(block: bytes, delimiter: str, dialect: Dialect, quoted: bool, *, texts: bool = False) -> Any:
    """Return the columns of a block as a pyarrow table, None if a line or a cell does not fit."""
    names = [str(place) for place in range(dialect.width)]
    types = {str(place): dialect.text_type(place) if texts else kind for place, kind in dialect.types.items()}
    try:
        return pyarrow.csv.read_csv(
            pyarrow.BufferReader(block),
            pyarrow.csv.ReadOptions(column_names=names, block_size=1 << 21),
            pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, ignore_empty_lines=True),
            pyarrow.csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pyarrow.ArrowException:
        return None


def _chunk(columns: Any, lines: Any, dialect: Dialect, broken: Sequence[tuple[int, BadEvent]] = ()) -> Chunk:
    found = {place: column(columns.column(str(place)), kind) for place, kind in dialect.kinds.items()}
    return Chunk(found, lines, broken)


def _one_byte(block: bytes, delimiter: str) -> bytes:
    if delimiter != " ":
        return block.replace(delimiter.encode(), ONE_BYTE.encode())
    lines = re.sub(rb"[ \t]*\n[ \t]*", b"\n", block.strip(b" \t"))
    return re.sub(rb"[ \t]+", ONE_BYTE.encode(), lines)


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _simple(block: bytes, delimiter: str) -> bool:
    """Return True if each quote opens or closes a whole cell, on one line, and no cell holds a quote."""
    text = np.frombuffer(b"\n" + block + b"\n", dtype=np.uint8)
    quotes = np.flatnonzero(text == QUOTE)
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    edges = (ord(delimiter), NEWLINE)
    before, behind = text[opening - 1], text[closing + 1]
    if not (np.isin(before, edges).all() and np.isin(behind, (*edges, ord("\r"))).all()):
        return False
    newlines = np.flatnonzero(text == NEWLINE)
    inside = np.searchsorted(newlines, opening) != np.searchsorted(newlines, closing)
    return not inside.any() and int((closing - opening).max()) <= csv.field_size_limit()


def _type(samples: Sequence[str], kind: Kind) -> Any:
    """Return the pyarrow type of a column, as its first cells show it."""
    cells = [cell for cell in samples if cell.strip()]
    if kind == "text":
        return TEXT
    if not cells:
        return pyarrow.string()
    if kind == "time" and all(_WHOLE.fullmatch(cell) for cell in cells):
        return pyarrow.int64()
    if all(NUMBER.fullmatch(cell) for cell in cells):
        return pyarrow.float64()
    if kind == "time" and all(iso_moment(cell) is not None for cell in cells):
        zones = [_ZONE.search(cell) is not None for cell in cells]
        if all(zones) or not any(zones):
            return pyarrow.timestamp("us", "UTC" if zones[0] else None)
    return pyarrow.string()
