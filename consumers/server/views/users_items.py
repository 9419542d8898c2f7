"""What the server knows of users, items, edits and outcomes: a view of the log, made anew at every start."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.events.windows import PADDING, History, Ids
from pipeline.models.catalogue import Catalogue
from pipeline.streams.interface import Record
from pipeline.streams.topics import EDITS, ITEMS, OUTCOMES, USERS

TOPICS = (ITEMS, USERS, EDITS, OUTCOMES)
"""What this view is made of."""


class Knowledge:
    """Users, items, edits and outcomes as the log has them.

    Args:
        catalogue: items by row.
        length: items of a window.

    Attributes:
        edits: edit id -> edit, its evidence as counts; `offset` and `partition` say where it stands in the log.
        outcomes: edit id -> what came of it.
        withdrawn: (items + 1,) True for items that must not be recommended.
    """

    def __init__(self, catalogue: Catalogue, length: int) -> None:
        self.edits: dict[str, dict[str, Any]] = {}
        self.outcomes: dict[str, Mapping[str, Any]] = {}
        self.withdrawn = np.zeros(len(catalogue) + 1, dtype=np.bool_)
        self.withdrawn[PADDING] = True
        self._catalogue = catalogue
        self._length = length
        self._users: dict[str, NDArray[np.int32]] = {}
        self._since_setup: dict[str, int] = {}
        self._titles: dict[int, str] = {}
        self._by_topic: dict[str, Callable[[Record], None]] = {
            ITEMS: self._item,
            USERS: self._user,
            EDITS: self._edit,
            OUTCOMES: self._outcome,
        }

    @property
    def users(self) -> int:
        """How many users are known."""
        return len(self._users)

    def apply(self, record: Record) -> None:
        """Take a record of one of `TOPICS` in."""
        self._by_topic[record.topic](record)

    def history(self, user_id: str) -> History | None:
        """What the user met last, or None for a user who is not known."""
        rows = self._users.get(user_id)
        return None if rows is None else History(rows.astype(np.int64), self._since_setup[user_id])

    def history_of(self, items: list[str]) -> History:
        """The history of item ids, oldest first, taken just now; items that the catalogue has not are left out."""
        rows = self.rows(items)
        return History(self._padded(rows), min(len(rows), self._length))

    def rows(self, item_ids: list[str]) -> list[int]:
        """Catalogue rows of those items that it has."""
        return [self._catalogue.row_of[item] for item in item_ids if item in self._catalogue.row_of]

    def item_id(self, row: int) -> str:
        """Id of the item in a catalogue row, 1 and up."""
        return self._catalogue.item_ids[row - 1]

    def title(self, row: int) -> str:
        """What is known of an item in words."""
        return self._titles.get(row, self._catalogue.texts[row - 1])

    def _padded(self, rows: list[int]) -> Ids:
        kept = rows[-self._length :]
        return np.array([PADDING] * (self._length - len(kept)) + kept, dtype=np.int64)

    def _item(self, record: Record) -> None:
        row = self._catalogue.row_of.get(record.key or "")
        if row is None:
            # The backbone has no row for it: it cannot be recommended before the next set-up.
            return
        self.withdrawn[row] = record.value is None
        if record.value is not None:
            self._titles[row] = str(record.value.get("text") or self._catalogue.texts[row - 1])

    def _user(self, record: Record) -> None:
        value: Any = record.value
        if value is None:
            self._users.pop(record.key or "", None)
            self._since_setup.pop(record.key or "", None)
        else:
            self._users[str(record.key)] = self._padded([int(row) for row in value["history"]]).astype(np.int32)
            self._since_setup[str(record.key)] = value.get("since_setup", 0)

    def _edit(self, record: Record) -> None:
        value: Any = record.value
        if value is not None:
            self.edits[value["edit_id"]] = _summary(value) | {"partition": record.partition, "offset": record.offset}

    def _outcome(self, record: Record) -> None:
        value: Any = record.value
        if value is not None:
            self.outcomes[value["edit_id"]] = value


def _summary(edit: Mapping[str, Any]) -> dict[str, Any]:
    """An edit without the ids of its windows: how many there are, and between which offsets of `gated`."""
    summary = {name: value for name, value in edit.items() if name not in ("windows", "samples")}
    for name in ("windows", "samples"):
        offsets = [offset for _, offset, _ in edit[name]]
        summary[name] = {
            "count": len(offsets),
            "first_offset": min(offsets, default=None),
            "last_offset": max(offsets, default=None),
        }
    return summary
