"""Windows: the last items of a user, and the item that came next.

A *window* is the fixed-length context that preceded an interaction, left-padded with row 0, together
with the interaction it precedes. Rows are catalogue rows (1 … n); 0 is no item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions

Ids = NDArray[np.int64]
"""Catalogue rows or region ids."""

PADDING = 0
"""The catalogue row that stands for no item."""

_BYTES = 4
"""Bytes of a packed catalogue row."""


@dataclass(frozen=True, slots=True)
class History:
    """The newest items of one user, at most as many as a window holds.

    Attributes:
        packed: (length,) int32 catalogue rows as bytes, oldest first, left-padded with 0; small, as users are many.
        since_setup: number of these, the newest ones, that came after the set-up slice: 0 to length.
    """

    packed: bytes
    since_setup: int = 0

    @classmethod
    def empty(cls, length: int) -> Self:
        """The history of a new user: padding alone."""
        return cls(bytes(_BYTES * length))

    @classmethod
    def of(cls, rows: Sequence[int] | Ids, length: int, since_setup: int) -> Self:
        """The newest `length` of catalogue rows that are given oldest first."""
        newest = np.asarray(rows[-length:], dtype="<i4").tobytes()
        return cls(bytes(_BYTES * length - len(newest)) + newest, since_setup)

    def append(self, row: int, *, since_setup: bool) -> Self:
        """The history after one more item; the oldest one leaves."""
        count = min(self.since_setup + since_setup, len(self.packed) // _BYTES)
        return replace(self, packed=self.packed[_BYTES:] + row.to_bytes(_BYTES, "little"), since_setup=count)

    @property
    def rows(self) -> Ids:
        """(length,) int64 catalogue rows, oldest first, left-padded with 0."""
        return np.frombuffer(self.packed, dtype="<i4").astype(np.int64)


@dataclass(frozen=True)
class Windows:
    """n windows as arrays, in event order.

    Attributes:
        contexts: (n, length) int64 catalogue rows, oldest first, left-padded with 0.
        targets: (n,) int64 catalogue row of the interaction that followed.
        users: (n,) user ids.
        event_ids: (n,) id of the interaction that followed.
        timestamps: (n,) its time in seconds.
        since_setup: (n,) int64 number of items of each context, the newest ones, taken since set-up.
    """

    contexts: NDArray[np.int64]
    targets: NDArray[np.int64]
    users: NDArray[np.str_]
    event_ids: NDArray[np.str_]
    timestamps: NDArray[np.float64]
    since_setup: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Windows":
        return Windows(
            self.contexts[chosen],
            self.targets[chosen],
            self.users[chosen],
            self.event_ids[chosen],
            self.timestamps[chosen],
            self.since_setup[chosen],
        )

    @property
    def cold(self) -> NDArray[np.bool_]:
        """(n,) True where the user had no history."""
        return np.asarray(self.contexts[:, -1] == PADDING)


def concatenate(parts: Sequence[Windows]) -> Windows:
    """Join windows in the given order; at least one part is needed."""
    return Windows(
        np.concatenate([p.contexts for p in parts]),
        np.concatenate([p.targets for p in parts]),
        np.concatenate([p.users for p in parts]),
        np.concatenate([p.event_ids for p in parts]),
        np.concatenate([p.timestamps for p in parts]),
        np.concatenate([p.since_setup for p in parts]),
    )


class Histories:
    """The last `length` items of every user.

    Attributes:
        length: items kept for each user.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._of: dict[str, History] = {}

    def history(self, user_id: str) -> History:
        """The history of a user, all padding for a new one."""
        return self._of.get(user_id) or History.empty(self.length)

    def append(self, user_id: str, row: int, since_setup: bool) -> None:
        """Add the newest item of a user; the oldest one leaves."""
        self._of[user_id] = self.history(user_id).append(row, since_setup=since_setup)

    def replace(self, user_id: str, history: History) -> None:
        """Set the newest items of a user."""
        self._of[user_id] = history

    def __len__(self) -> int:
        return len(self._of)


def preceding_windows(
    interactions: Sequence[Interaction], row_of: Mapping[str, int], histories: Histories, *, since_setup: bool
) -> Windows:
    """Return the window that preceded each interaction, and append each to its user's history in turn.

    Args:
        interactions: n interactions in event order.
        row_of: catalogue row of every item id.
        histories: histories before the first interaction; every interaction is appended.
        since_setup: True if the interactions came after the set-up slice.

    Returns:
        n windows, in the order given.
    """
    events = Interactions.of(interactions)
    targets = events.item_rows(row_of)
    contexts, since = _contexts(events, targets, histories, since_setup)
    return Windows(contexts, targets, events.user_texts(), events.event_id_texts(), events.timestamps, since)


def _contexts(
    events: Interactions, targets: NDArray[np.int64], histories: Histories, since_setup: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (n, length) contexts and (n,) counts of items since set-up; the histories go on."""
    length = histories.length
    order = np.argsort(events.users, kind="stable")
    users, starts, counts = np.unique(events.users[order], return_index=True, return_counts=True)
    before = [histories.history(events.user_ids[user]) for user in users.tolist()]
    # One row of items after the other, each user's history in front of the user's new items.
    fronts = starts + length * np.arange(len(users))
    group = np.repeat(np.arange(len(users)), counts)
    places = np.arange(len(order)) - starts[group]
    rows = np.zeros(len(order) + length * len(users), dtype=np.int64)
    at = fronts[group] + length + places
    rows[at] = targets[order]
    for front, history in zip(fronts.tolist(), before, strict=True):
        rows[front : front + length] = history.rows
    contexts = np.empty((len(order), length), dtype=np.int64)
    contexts[order] = sliding_window_view(rows, length)[at - length] if len(order) else 0
    known = np.array([history.since_setup for history in before], dtype=np.int64)
    since = np.empty(len(order), dtype=np.int64)
    since[order] = np.minimum(known[group] + places * since_setup, length)
    newest = np.minimum(known + counts * since_setup, length)
    for user, front, count, new in zip(users.tolist(), fronts.tolist(), counts.tolist(), newest.tolist(), strict=True):
        histories.replace(events.user_ids[user], History.of(rows[front + count : front + count + length], length, new))
    return contexts, since


def places_in_sequence(users: NDArray[np.str_]) -> NDArray[np.int64]:
    """(n,) position of each window in its user's sequence: the number of earlier rows with the same user."""
    places = np.empty(len(users), dtype=np.int64)
    seen: dict[str, int] = {}
    for i, user in enumerate(users):
        places[i] = seen.get(user, 0)
        seen[user] = int(places[i]) + 1
    return places
