"""Text files as tables: delimited lines and JSON lines. A broken line does not affect the others."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadEvent, DataError

DELIMITERS = (",", "\t", ";", "|", "::")
"""Supported delimiters; the first one wins a tie in `guess_delimiter`."""

LONGEST_RECORD = 50
"""Maximum number of lines of one quoted record, so that a stray quote cannot consume the rest of the file."""

KEYS_FROM = 1000
"""Number of JSON lines whose keys form the columns."""


@dataclass(frozen=True)
class Table:
    """Columns and the rows below them.

    Attributes:
        file: name of the file, without its folder.
        columns: names, in file order.
        rows: line number, and one cell for each column or the error of the line.
    """

    file: str
    columns: tuple[str, ...]
    rows: Iterable[tuple[int, Sequence[object] | BadEvent]]


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without line ends.

    Each line is decoded as UTF-8, or else as latin-1: old `::` files are latin-1, and a bad byte affects its line only.

    Raises:
        DataError: the file cannot be read, or it is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    lines = [_decode(line) for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    if not any(line.strip() for line in lines):
        raise DataError(f"{path} is empty: a dataset needs at least one interaction")
    return lines


def _decode(line: bytes) -> str:
    line = line.removesuffix(b"\r")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def guess_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that covers most characters of the first line that is not blank."""
    first = next(line for line in lines if line.strip())
    return max(DELIMITERS, key=lambda delimiter: first.count(delimiter) * len(delimiter))


def delimited(path: Path, delimiter: str, columns: tuple[str, ...] | None = None, *, quoted: bool = True) -> Table:
    """Read a file of one record a line.

    Args:
        path: the file.
        delimiter: text between two cells.
        columns: names of the columns of a file without a header; None: the first line names them.
        quoted: True if `"` may enclose a cell, as in CSV.

    Raises:
        DataError: the file cannot be read, or it is empty.
    """
    lines = read_lines(path)
    records = _records(lines, delimiter, quoted=quoted)
    if columns is None:
        _, header = next(records)
        if isinstance(header, BadEvent):
            raise DataError(f"the header of {path} cannot be read: {header}")
        columns = tuple(cell.strip() for cell in header)
    return Table(path.name, columns, _of_width(records, len(columns)))


def _of_width(
    records: Iterable[tuple[int, list[str] | BadEvent]], width: int
) -> Iterator[tuple[int, Sequence[object] | BadEvent]]:
    for line, cells in records:
        if isinstance(cells, BadEvent) or len(cells) == width:
            yield line, cells
        else:
            yield line, BadEvent("wrong_columns", f"expected {width} columns, found {len(cells)}")


def _records(lines: Sequence[str], delimiter: str, *, quoted: bool) -> Iterator[tuple[int, list[str] | BadEvent]]:
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.strip():
            continue
        if not quoted or '"' not in line:
            yield at, line.split(delimiter)
            continue
        cells, taken = _quoted(lines[at - 1 : at - 1 + LONGEST_RECORD], delimiter)
        yield at, cells
        at += taken - 1


def _quoted(lines: Sequence[str], delimiter: str) -> tuple[list[str] | BadEvent, int]:
    """Return the record that starts at the first line, and its number of lines."""
    record = ""
    problem = ""
    for taken, line in enumerate(lines, start=1):
        record = f"{record}\n{line}" if taken > 1 else line
        if taken > 1 and record.count('"') % 2:
            continue
        try:
            return next(csv.reader([record], delimiter=delimiter, strict=True)), taken
        except csv.Error as error:
            problem = problem or str(error)
    return BadEvent("bad_quotes", f"a quoted cell is broken: {problem}"), 1


def common_width(lines: Sequence[str], delimiter: str) -> int:
    """Return the most frequent number of cells among those of the first hundred lines that are not blank."""
    widths = Counter(line.count(delimiter) + 1 for line in lines[:100] if line.strip())
    return widths.most_common(1)[0][0]


def json_lines(path: Path) -> Table:
    """Read a file of one JSON object a line. Its columns are the keys of the first `KEYS_FROM` objects.

    Raises:
        DataError: the file cannot be read, or it is empty.
    """
    records = [(at, _json_object(line)) for at, line in enumerate(read_lines(path), start=1) if line.strip()]
    columns: dict[str, None] = {}
    for _, record in records[:KEYS_FROM]:
        if not isinstance(record, BadEvent):
            columns.update(dict.fromkeys(record))
    names = tuple(columns)
    rows = ((at, r if isinstance(r, BadEvent) else [r.get(name) for name in names]) for at, r in records)
    return Table(path.name, names, rows)


def _json_object(line: str) -> dict[str, object] | BadEvent:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadEvent("bad_json", f"{str(error)[:80]} in {line[:40]!r}")
    if not isinstance(record, dict):
        return BadEvent("not_an_object", f"an event is a JSON object, not {line[:40]!r}")
    return record
