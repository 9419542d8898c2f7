"""Files of JSON objects as tables: one object a line, one array, or objects that span lines.

Each object is parsed by itself. pyarrow's reader is faster, but deep nesting in one line ends the whole process, and it
takes ids that look like dates for times.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.readers.blocks import decoded
from pipeline.datasets.readers.table import Chunk, Coded, Column, Kind, Numbers, Table, column_of
from pipeline.datasets.readers.text import beginning, content
from pipeline.errors import BadEvent

ROWS = 50_000
"""Objects of a chunk."""

_BETWEEN = re.compile(r"[\s,]*")
_NEXT = re.compile(r"\n\s*\{")

Record = dict[str, Any] | BadEvent


def json_table(path: Path, keep: Callable[[str], bool]) -> Table:
    """Read a file of JSON objects. Its columns are the keys of all objects, in order of their first value but null.

    Args:
        path: the file.
        keep: returns True for the keys whose cells can be asked for.

    Raises:
        DataError: the file cannot be read, or it is empty.
    """
    columns: dict[str, None] = {}
    chunks = []
    for records in _batches(path):
        for _, record in records:
            if isinstance(record, dict):
                columns.update(dict.fromkeys(key for key, cell in record.items() if cell is not None))
        chunks.append(_chunk(records, keep))
    names = tuple(columns)
    return Table(path.name, names, partial(_read, chunks, names), is_sparse=True)


def _chunk(records: list[tuple[int, Record]], keep: Callable[[str], bool]) -> tuple[Any, Mapping[str, Column], Any]:
    """Return lines, columns by key, and broken rows."""
    good = [(line, record) for line, record in records if isinstance(record, dict)]
    broken = [(line, record) for line, record in records if isinstance(record, BadEvent)]
    keys = dict.fromkeys(key for _, record in good for key in record)
    columns = {key: column_of([record.get(key) for _, record in good], "text") for key in keys if keep(key)}
    return np.array([line for line, _ in good], dtype=np.int64), columns, broken


def _read(chunks: list[Any], names: tuple[str, ...], kinds: Mapping[int, Kind]) -> Iterator[Chunk]:
    for lines, columns, broken in chunks:
        absent = Coded(np.zeros(len(lines), dtype=np.int32), [None])
        found = {place: columns.get(names[place], absent) for place in kinds}
        numbers = {place: _numbers(found[place]) if kind != "text" else found[place] for place, kind in kinds.items()}
        yield Chunk(numbers, lines, broken)


def _numbers(column: Column) -> Column:
    """Return a column whose cells are all numbers as an array."""
    if isinstance(column, Numbers):
        return column
    cells = column_of(column.cells, "number")
    return Numbers(cells.values[column.codes], cells.empty[column.codes]) if isinstance(cells, Numbers) else column


def _batches(path: Path) -> Iterator[list[tuple[int, Record]]]:
    batch: list[tuple[int, Record]] = []
    for one in _records(path):
        batch.append(one)
        if len(batch) == ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _records(path: Path) -> Iterator[tuple[int, Record]]:
    with content(path) as data:
        at = beginning(data)
        while data[at : at + 1].isspace():
            at += 1
        newline = data.find(b"\n", at)
        first = data[at : newline if newline >= 0 else len(data)].strip()
        if (first.startswith(b"[") and not _is_whole(first, newline < 0)) or first == b"{":
            yield from _spanning(decoded(data[at:]))
            return
        line = 1 + data[:at].count(b"\n")
        while at < len(data):
            newline = data.find(b"\n", at)
            stop = len(data) if newline < 0 else newline + 1
            text = decoded(data[at:stop].removesuffix(b"\n"))
            if text.strip():
                yield line, _object(text)
            at, line = stop, line + 1


def _is_whole(line: bytes, is_only: bool) -> bool:
    """Return True for a line that is a complete array among others: a broken row, no array of objects."""
    return not is_only and line.endswith(b"]") and not line.startswith(b"[{")


def _spanning(text: str) -> Iterator[tuple[int, Record]]:
    """Yield number and object of each element of an array, or of objects one after the other.

    Behind a broken element the reading goes on where a line begins with an object.
    """
    decoder = json.JSONDecoder()
    at = _BETWEEN.match(text, 1 if text[0] == "[" else 0).end()  # type: ignore[union-attr]
    number = 0
    while at < len(text) and text[at:].strip()[:1] not in ("", "]"):
        number += 1
        try:
            record, at = decoder.raw_decode(text, at)
            yield number, record if isinstance(record, dict) else _no_object(str(record))
        except (ValueError, RecursionError) as error:
            yield number, BadEvent("bad_json", f"{str(error)[:80]} in {text[at : at + 40]!r}")
            again = _NEXT.search(text, at + 1)
            at = again.end() - 1 if again else len(text)
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]


def _object(line: str) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadEvent("bad_json", f"{str(error)[:80]} in {line[:40]!r}")
    return record if isinstance(record, dict) else _no_object(line)


def _no_object(text: str) -> BadEvent:
    return BadEvent("not_an_object", f"an event is a JSON object, not {text[:40]!r}")
