"""Interface of a dataset reader, and the tables and rows that it returns.

A reader finds files and the meaning of their columns; `pipeline.datasets.assembly` checks the rows of every format
alike.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets.readers.names import EVENT_TYPE, FIELDS
from pipeline.datasets.readers.table import Table
from pipeline.errors import BadEvent
from pipeline.events.interactions import Interactions


class Row(NamedTuple):
    """One row of a file of items.

    Attributes:
        file: name of the file, without its folder.
        line: line in that file, from 1 (the row number where a format has no lines).
        record: fields by our names (`item_id`, ...), or the error of a row that could not be parsed.
    """

    file: str
    line: int
    record: Mapping[str, object] | BadEvent


@dataclass(frozen=True)
class ColumnUse:
    """The use of the columns of one file, to be shown.

    Attributes:
        file: name of the file, or of the first of several.
        taken: column and its meaning.
        ignored: columns without use.
        notes: remarks on single columns.
    """

    file: str
    taken: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoundTable:
    """A table of interactions whose columns have a meaning.

    Attributes:
        table: the table.
        fields: field (`user_id`, ...) -> place of its column.
        text: places of the columns that describe the item, the title first.
        otherwise: field -> places of further columns, for rows of a sparse table without the ones before.
        mapped_text: True if the user named these columns, False if their names did.
    """

    table: Table
    fields: Mapping[str, int]
    text: tuple[int, ...] = ()
    otherwise: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    mapped_text: bool = False

    def places(self, field: str) -> tuple[int, ...]:
        """Return the places of the columns of a field, the surest first."""
        return self.fields[field], *self.otherwise.get(field, ())


Threshold = Callable[[Interactions], float | None]


def every_interaction(_: Interactions) -> float | None:
    """Return the threshold of a format whose interactions are all positive: None."""
    return None


@dataclass(frozen=True)
class Source:
    """The tables of one dataset.

    Attributes:
        interactions: tables of interactions, in file order.
        items: rows fit for `parse_item`; None: texts come from the tables of interactions.
        uses: the use of the columns of each file.
        positive_from: returns the smallest value of a positive interaction; None: every interaction is positive.
    """

    interactions: Sequence[BoundTable]
    items: Iterable[Row] | None
    uses: tuple[ColumnUse, ...]
    positive_from: Threshold = every_interaction


@dataclass(frozen=True)
class ReadOptions:
    """Columns by meaning, for files whose column names do not show it, and further choices.

    Attributes:
        user_id: column of the user; None: guessed from the names. The same holds for the next four.
        item_id: column of the item, in the interactions and in the item file.
        timestamp: column of the time: seconds or milliseconds since 1970, ISO-8601, or dates such as 20240501.
        value: column of the rating, if there is one.
        event_id: column of the event's id, if there is one.
        event_type: column of the kind of event; read only if `event_types` is not empty.
        text: columns that describe the item, the title first; empty: guessed from their names.
        items: file of items; None: the one beside the interactions, if its name shows it.
        keep_repeats: True if identical rows without an event id are events of their own.
        event_types: kind of event, in lower case -> whether it counts; empty: kinds are not looked at.
    """

    user_id: str | None = None
    item_id: str | None = None
    timestamp: str | None = None
    value: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    text: tuple[str, ...] = ()
    items: Path | None = None
    keep_repeats: bool = False
    event_types: Mapping[str, bool] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of an interaction that are read."""
        return (*FIELDS, EVENT_TYPE) if self.event_types else FIELDS

    @property
    def named(self) -> dict[str, str]:
        """Field -> the column that the user named for it."""
        found = {name: getattr(self, name) for name in self.fields}
        return {name: column for name, column in found.items() if column is not None}


@dataclass(frozen=True, slots=True)
class Reader:
    """One dataset format.

    Attributes:
        expects: files that the format consists of, for error messages.
        recognises: returns True for a folder or file of this format.
        read: returns the tables of such a path; raises DataError if a column is missing or doubtful.
    """

    expects: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Source]
