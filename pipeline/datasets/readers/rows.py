"""Interface of a dataset reader, and the raw rows that it returns.

A reader finds rows and names their fields; `pipeline.datasets.dataset` validates the rows of every format alike.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import BadEvent


class Row(NamedTuple):
    """One row of a file.

    Attributes:
        file: name of the file, without its folder.
        line: line in that file, from 1 (the row number where a format has no lines).
        record: fields by our names (`user_id`, ...), or the error of a row that could not be parsed.
    """

    file: str
    line: int
    record: Mapping[str, object] | BadEvent


@dataclass(frozen=True)
class Source:
    """The raw rows of one dataset, in file order.

    Attributes:
        interactions: rows fit for `parse_interaction`.
        items: rows fit for `parse_item`.
        positive_from: smallest value of a positive interaction; None: every interaction is positive.
    """

    interactions: Iterable[Row]
    items: Iterable[Row]
    positive_from: float | None = None


@dataclass(frozen=True)
class ReadOptions:
    """Columns by meaning, for files whose column names do not show it.

    Attributes:
        user_id: column of the user; None: guessed from the names. The same holds for the next four.
        item_id: column of the item, in the interactions and in the item file.
        timestamp: column of the time: seconds or milliseconds since 1970, or ISO-8601.
        value: column of the rating, if there is one.
        event_id: column of the event's id, if there is one.
        text: columns that describe the item, the title first; empty: guessed from their names.
    """

    user_id: str | None = None
    item_id: str | None = None
    timestamp: str | None = None
    value: str | None = None
    event_id: str | None = None
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """One dataset format.

    Attributes:
        expects: files that the format consists of, for error messages.
        recognises: returns True for a folder or file of this format.
        read: returns the rows of such a path; raises DataError if a column is missing.
    """

    expects: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Source]
