"""View of users and items, built from the log at every start."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consumers.runtime.withdrawn_items import WithdrawnItems
from pipeline.errors import BadEvent
from pipeline.events.item import parse_item
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.models.catalogue import Catalogue
from pipeline.streams.interface import Record
from pipeline.streams.topics import ITEMS, USERS

TOPICS = (ITEMS, USERS)
"""Topics of this view."""


class UsersItems:
    """Histories of users; titles and withdrawals of items.

    Args:
        catalogue: items by row.
        length: items of a window.
    """

    def __init__(self, catalogue: Catalogue, length: int) -> None:
        self._catalogue = catalogue
        self._length = length
        self._withdrawn = WithdrawnItems(catalogue.row_of)
        self._histories: dict[str, History] = {}
        self._titles: dict[int, str] = {}

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self._histories)

    @property
    def withdrawn(self) -> NDArray[np.bool_]:
        """(items + 1,) True for rows that must not be recommended."""
        return self._withdrawn.mask

    def apply(self, record: Record) -> None:
        """Apply a record of one of `TOPICS`."""
        if record.topic == ITEMS:
            self._apply_item(record)
        elif record.value is None:
            self._histories.pop(str(record.key), None)
        else:
            history = UserState.from_record(record.value, self._length).history
            self._check(history)
            self._histories[str(record.key)] = history

    def history(self, user_id: str) -> History | None:
        """The history of a user, or None for an unknown one."""
        return self._histories.get(user_id)

    def history_of(self, items: Sequence[str]) -> History:
        """The history of item ids, oldest first, as if taken since set-up; items without a row are left out."""
        rows = self.rows(items)
        return History.of(rows, self._length, min(len(rows), self._length))

    def rows(self, item_ids: Sequence[str]) -> list[int]:
        """Catalogue rows of item ids; ids without a row are left out."""
        return [self._catalogue.row_of[item] for item in item_ids if item in self._catalogue.row_of]

    def item_id(self, row: int) -> str:
        """Id of the item in a catalogue row, 1 and up."""
        return self._catalogue.item_ids[row - 1]

    def title(self, row: int) -> str:
        """Text of the item in a catalogue row."""
        return self._titles.get(row, self._catalogue.texts[row - 1])

    def _apply_item(self, record: Record) -> None:
        # Read first: a record that cannot be read brings no withdrawn item back.
        item = None if record.value is None else parse_item({"item_id": record.key, **record.value})
        row = self._withdrawn.apply(record)
        if row is not None and item is not None:
            self._titles[row] = item.text or self._catalogue.texts[row - 1]

    def _check(self, history: History) -> None:
        """Raise BadEvent for a history that a batch of requests could not be scored with."""
        rows, recent = history.rows, history.since_setup
        if rows.min() < 0 or rows.max() > len(self._catalogue.item_ids):
            raise BadEvent("bad_history", f"catalogue rows are 1 to {len(self._catalogue.item_ids)}")
        if not isinstance(recent, int) or not 0 <= recent <= self._length:
            raise BadEvent("bad_history", f"since_setup must be 0 to {self._length}, not {str(recent)[:40]!r}")
