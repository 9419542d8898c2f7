"""Form of a delimited file, recognised from its first lines: delimiter, quotes, header, columns without names."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from pipeline.datasets.readers.names import ALIASES, plain
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.datasets.readers.table import Table
from pipeline.datasets.readers.text import Layout, head, read_text
from pipeline.errors import DataError
from pipeline.events.cells import NUMBER, iso_moment

DELIMITERS = (",", "\t", ";", "|", "::")
"""Supported delimiters; the first one wins a tie. A file without any of them is separated by white space."""

TEXTUAL = ("\t", "::", " ")
"""Delimiters of files in which a quote is text."""

SAMPLE = 200
"""Rows from which the form of a file is recognised."""

LATER_THAN = 1e6
"""A column without a name is a time if its numbers are mostly above this: seconds, milliseconds or dates."""

MOST_ROWS = 0.9
"""Share of the first rows that must fit the guess for a column without a name."""

PLACES = {3: ("user_id", "item_id", "timestamp"), 4: ("user_id", "item_id", "value", "timestamp")}
"""Columns of interactions without a header, by number of columns."""

ITEM_COLUMNS = {2: ("item_id", "title"), 3: ("item_id", "title", "genres")}
"""Columns of items without a header, by number of columns."""


def guess_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that covers most characters of the first line that is not blank; else white space."""
    first = next(line for line in lines if line.strip())
    best = max(DELIMITERS, key=lambda delimiter: first.count(delimiter) * len(delimiter))
    return best if best in first or not first.strip().count(" ") else " "


def interaction_table(path: Path, options: ReadOptions, delimiter: str | None = None) -> Table:
    """Open a delimited file of interactions.

    Args:
        path: the file.
        options: columns that the user names.
        delimiter: text between two cells; None: guessed.

    Raises:
        DataError: the file cannot be read, or it is empty.
    """
    lines = [line for line in head(path) if line.strip()]
    delimiter = _delimiter(path, lines, delimiter)
    quoted = _is_quoted(lines[0], delimiter)
    named = {*options.named.values(), *options.text}
    rows = _cells(lines, delimiter, quoted)
    is_numbered = _is_numbered(rows[0])
    has_header = is_numbered or _has_names(rows, named)
    width = len(rows[0]) if has_header else Counter(map(len, rows)).most_common(1)[0][0]
    columns = tuple(cell.strip() for cell in rows[0]) if has_header else tuple(str(n + 1) for n in range(width))
    samples = _samples(rows[has_header:], width)
    layout = Layout(delimiter, width, int(has_header), quoted, samples)
    read = partial(read_text, path, layout)
    if has_header and not is_numbered:
        return Table(path.name, columns, read)
    places, doubt = _places(samples, index=is_numbered and rows[0][0] == "")
    return Table(path.name, columns, read, places, doubt)


def item_table(path: Path, delimiter: str | None = None, quoted: bool | None = None) -> Table:
    """Open a delimited file of items.

    Raises:
        DataError: the file cannot be read, or it is empty.
    """
    lines = [line for line in head(path) if line.strip()]
    delimiter = _delimiter(path, lines, delimiter)
    quoted = _is_quoted(lines[0], delimiter) if quoted is None else quoted
    rows = _cells(lines, delimiter, quoted)
    has_number = any(cell.strip().replace(".", "", 1).isdigit() for cell in rows[0])
    has_header = not has_number or any(plain(cell) in (*ALIASES["item_id"], "id") for cell in rows[0])
    known = ITEM_COLUMNS.get(Counter(map(len, rows)).most_common(1)[0][0])
    columns = tuple(cell.strip() for cell in rows[0]) if has_header or known is None else known
    header = int(has_header or known is None)
    layout = Layout(delimiter, len(columns), header, quoted, [()] * len(columns))
    return Table(path.name, columns, partial(read_text, path, layout))


def _delimiter(path: Path, lines: Sequence[str], delimiter: str | None) -> str:
    if delimiter is not None:
        return delimiter
    return "\t" if path.suffix.lower() == ".tsv" else guess_delimiter(lines)


def _is_quoted(first: str, delimiter: str) -> bool:
    """Return True if quotes enclose cells: as in CSV, or where every name of a tab-separated header has them."""
    if delimiter not in TEXTUAL:
        return True
    cells = [cell.strip() for cell in first.split(delimiter)]
    return delimiter == "\t" and all(len(cell) > 2 and cell[0] == cell[-1] == '"' for cell in cells)


def _cells(lines: Sequence[str], delimiter: str, quoted: bool) -> list[list[str]]:
    """Return the cells of the first rows. Quoted cells of several lines do not matter for the guess."""
    rows = []
    for line in lines[:SAMPLE]:
        if delimiter == " ":
            rows.append(line.split())
        elif not quoted or '"' not in line:
            rows.append(line.split(delimiter))
        else:
            rows += _quoted_cells(line, delimiter, is_first=not rows)
    return rows


def _quoted_cells(line: str, delimiter: str, *, is_first: bool) -> list[list[str]]:
    try:
        return list(csv.reader([line], delimiter=delimiter, strict=is_first))
    except csv.Error as error:
        if is_first:
            raise DataError(f"the first line cannot be read: {error}: {line[:80]}") from error
        return []


def _samples(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    fitting = [row for row in rows if len(row) == width]
    return [[row[place] for row in fitting] for place in range(width)]


def _has_names(rows: Sequence[Sequence[str]], named: set[str]) -> bool:
    """Return True if the first row names the columns."""
    first = [cell.strip() for cell in rows[0]]
    known = {alias for tiers in ALIASES.values() for alias in tiers}
    if any(plain(cell) in known for cell in first) or named & {cell for cell in first if not cell.isdigit()}:
        return True
    return not any(NUMBER.fullmatch(cell) or iso_moment(cell) is not None for cell in first if cell)


def _is_numbered(cells: Sequence[str]) -> bool:
    """Return True for a header of place numbers, as pandas writes one: `0,1,2`, or `,0,1,2` beside an index."""
    names = [cell.strip() for cell in cells]
    names = names[1:] if names[0] == "" else names
    return len(names) > 1 and names == [str(n) for n in range(len(names))]


def _places(samples: Sequence[Sequence[str]], *, index: bool) -> tuple[Mapping[str, int], str]:
    """Return meaning -> place of columns without names, and what is doubtful about it."""
    offset = int(index)
    roles = [_role(cells) for cells in samples[offset:]]
    known = PLACES.get(len(roles), ())
    places = {name: place + offset for place, name in enumerate(known)}
    others = [place for place, role in enumerate(roles[:-1]) if role == "iso"]
    if known and roles[-1] in ("iso", "late") and not others and (len(known) == 3 or roles[2] != "text"):
        return places, ""
    times = [place for place, role in enumerate(roles) if role == "iso"] or [
        place for place, role in enumerate(roles) if role == "late"
    ][-1:]
    rest = [place for place in range(len(roles)) if place not in times[:1]]
    guess = dict(zip(("user_id", "item_id"), rest, strict=False)) | dict(zip(("timestamp",), times, strict=False))
    return {name: place + offset for name, place in guess.items()}, _doubt(samples, times)


def _doubt(samples: Sequence[Sequence[str]], times: Sequence[int]) -> str:
    first = ", ".join(cells[0] if cells else "" for cells in samples)[:120]
    clock = "no column is surely a time" if not times else "the place of the time is unusual or the rest is unclear"
    return f"its {len(samples)} columns have no names and can be read in several ways ({clock}); the first row: {first}"


def _role(cells: Sequence[str]) -> str:
    """Return `iso`, `late` (numbers that can be times), `number` or `text`."""
    filled = [cell for cell in cells if cell.strip()]
    if not filled:
        return "number"
    numbers = [float(cell) for cell in filled if NUMBER.fullmatch(cell) and _is_float(cell)]
    if len(numbers) >= MOST_ROWS * len(filled):
        return "late" if median(numbers) >= LATER_THAN else "number"
    times = sum(iso_moment(cell) is not None for cell in filled)
    return "iso" if times >= MOST_ROWS * len(filled) else "text"


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
