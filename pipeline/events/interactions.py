"""Many interactions as columns; one `Interaction` is made only where one event is handled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from pipeline.events.interaction import Interaction

STEP = 10_000
"""Interactions that an iteration makes at a time."""

Chosen = slice | NDArray[Any]


@dataclass(frozen=True, eq=False)
class Interactions(Sequence[Interaction]):
    """n interactions as columns.

    Attributes:
        user_ids: table of user ids.
        users: (n,) int32 places in that table.
        item_ids: table of item ids.
        items: (n,) int32 places in that table.
        timestamps: (n,) float64 seconds since 1970.
        values: (n,) float64; NaN where there is none.
        event_ids: (n,) event ids: bytes in UTF-8, or Python strings where some are long.
    """

    user_ids: NDArray[np.object_]
    users: NDArray[np.int32]
    item_ids: NDArray[np.object_]
    items: NDArray[np.int32]
    timestamps: NDArray[np.float64]
    values: NDArray[np.float64]
    event_ids: NDArray[Any]

    @classmethod
    def of(cls, events: Sequence[Interaction]) -> "Interactions":
        """Return the columns of a sequence of interactions, in the same order."""
        if isinstance(events, cls):
            return events
        users, items = _coded([e.user_id for e in events]), _coded([e.item_id for e in events])
        timestamps = np.array([e.timestamp for e in events], dtype=np.float64)
        values = np.array([np.nan if e.value is None else e.value for e in events], dtype=np.float64)
        return cls(*users, *items, timestamps, values, packed([e.event_id for e in events]))

    def __len__(self) -> int:
        return len(self.timestamps)

    @overload
    def __getitem__(self, chosen: int) -> Interaction: ...
    @overload
    def __getitem__(self, chosen: Chosen) -> "Interactions": ...
    def __getitem__(self, chosen: int | Chosen) -> "Interaction | Interactions":
        if isinstance(chosen, slice | np.ndarray):
            rows = (self.timestamps[chosen], self.values[chosen], self.event_ids[chosen])
            return Interactions(self.user_ids, self.users[chosen], self.item_ids, self.items[chosen], *rows)
        if chosen < -len(self) or chosen >= len(self):
            raise IndexError(chosen)
        return next(iter(self[chosen : chosen + 1 or None]))

    def __iter__(self) -> Iterator[Interaction]:
        for start in range(0, len(self), STEP):
            part = self[start : start + STEP]
            ids = part.event_id_texts().tolist()
            users, items = self.user_ids[part.users].tolist(), self.item_ids[part.items].tolist()
            values = [None if isnan(value) else value for value in part.values.tolist()]
            yield from map(Interaction, ids, users, items, part.timestamps.tolist(), values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def user_texts(self) -> NDArray[np.str_]:
        """Return the (n,) user ids."""
        return _texts(self.user_ids, self.users)

    def event_id_texts(self) -> NDArray[np.str_]:
        """Return the (n,) event ids as text."""
        if self.event_ids.dtype.kind == "S":
            return np.char.decode(self.event_ids, "utf-8") if len(self) else np.zeros(0, dtype=np.str_)
        return self.event_ids.astype(np.str_)

    def item_rows(self, row_of: Mapping[str, int]) -> NDArray[np.int64]:
        """Return the (n,) catalogue rows of the items."""
        rows = np.zeros(len(self.item_ids), dtype=np.int64)
        for place in np.unique(self.items).tolist():
            rows[place] = row_of[self.item_ids[place]]
        return rows[self.items]


def packed(ids: Sequence[str]) -> NDArray[Any]:
    """Return ids as an array of bytes, or of Python strings where one is much longer than usual."""
    encoded = [text.encode() for text in ids]
    if encoded and max(map(len, encoded)) > 64:
        table = np.empty(len(ids), dtype=np.object_)
        table[:] = ids
        return table
    return np.array(encoded, dtype=np.bytes_)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays of ids as one."""
    if len({part.dtype.kind for part in parts}) > 1:
        parts = [part if part.dtype.kind == "O" else np.char.decode(part, "utf-8").astype(np.object_) for part in parts]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, dtype="S1")


def _coded(texts: Sequence[str]) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    places: dict[str, int] = {}
    codes = [places.setdefault(text, len(places)) for text in texts]
    table = np.empty(len(places), dtype=np.object_)
    table[:] = list(places)
    return table, np.array(codes, dtype=np.int32)


def _texts(table: NDArray[np.object_], codes: NDArray[np.int32]) -> NDArray[np.str_]:
    # Only the ids in use decide the width of the array.
    used, places = np.unique(codes, return_inverse=True)
    return table[used].astype(np.str_)[places]
