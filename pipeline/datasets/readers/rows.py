"""What a reader hands over: raw rows, each with the place it stands at.

A reader only finds rows and names their fields; whether a row is any good is decided once, for every format, in
`pipeline.datasets.dataset`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import BadEvent


class Row(NamedTuple):
    """One row of a file.

    Attributes:
        file: name of the file, without its folder.
        line: line in that file, from 1 (the row number where a format has no lines).
        record: fields by our names (`user_id`, ...), or why the row could not be taken apart.
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
        positive_from: smallest value that counts as liking, or None where every interaction counts.
    """

    interactions: Iterable[Row]
    items: Iterable[Row]
    positive_from: float | None = None


@dataclass(frozen=True)
class ReadOptions:
    """Which column means what, where the names do not say so themselves.

    Attributes:
        user_id: column of the user; None: guessed from its name. The same holds for the next four.
        item_id: column of the item, in the interactions and in the item file.
        timestamp: column of the time: seconds or milliseconds since 1970, or ISO-8601.
        value: column of the rating, if there is one.
        event_id: column of the event's name, if there is one.
        text: columns that describe the item, the title first; empty: guessed from their names.
    """

    user_id: str | None = None
    item_id: str | None = None
    timestamp: str | None = None
    value: str | None = None
    event_id: str | None = None
    text: tuple[str, ...] = ()
