"""Windows: the last items of a user, and the item that came next.

A *window* is the fixed-length context that preceded an interaction, left-padded with row 0, together
with the interaction it precedes. Rows are catalogue rows (1 … n); 0 is no item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions

Ids = NDArray[np.int64]
"""Catalogue rows or region ids."""

PADDING = 0
"""The catalogue row that stands for no item."""


@dataclass(frozen=True, slots=True)
class History:
    """The newest items of one user, at most as many as a window holds.

    Attributes:
        items: ids, oldest first. A process resolves them to its own rows only where it scores.
        since_setup: number of these, the newest ones, that came after the set-up slice.
        earlier: distinct items that left these, the one that left last at the end.
    """

    items: tuple[str, ...] = ()
    since_setup: int = 0
    earlier: tuple[str, ...] = ()

    @classmethod
    def of(cls, items: Sequence[str], length: int, since_setup: int) -> Self:
        """The newest `length` of items that are given oldest first."""
        newest = tuple(items[-length:])
        return cls(newest, min(since_setup, len(newest)))

    def append(self, item_id: str, length: int, *, since_setup: bool) -> Self:
        """The history after one more item; where there are `length` items, the oldest one leaves."""
        items = (*self.items, item_id)[-length:]
        return replace(self, items=items, since_setup=min(self.since_setup + since_setup, len(items)))


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
        positions: (n,) int64 number of the interaction in its log, from which follows what existed then.
        earlier: (n, e) int32 distinct rows that left the window, the one that left last at the end, left-padded.
    """

    contexts: NDArray[np.int64]
    targets: NDArray[np.int64]
    users: NDArray[np.str_]
    event_ids: NDArray[np.str_]
    timestamps: NDArray[np.float64]
    since_setup: NDArray[np.int64]
    positions: NDArray[np.int64]
    earlier: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Windows":
        return Windows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def at(self, position: int) -> "Windows":
        """The same windows, asked at another position of the log."""
        return replace(self, positions=np.full(len(self), position, dtype=np.int64))

    @property
    def cold(self) -> NDArray[np.bool_]:
        """(n,) True where the user had no history."""
        return np.asarray(self.contexts[:, -1] == PADDING)


def concatenate(parts: Sequence[Windows]) -> Windows:
    """Join windows in the given order; at least one part is needed."""
    widest = max(part.earlier.shape[1] for part in parts)
    padded = [replace(p, earlier=np.pad(p.earlier, ((0, 0), (widest - p.earlier.shape[1], 0)))) for p in parts]
    columns = (np.concatenate([getattr(part, field.name) for part in padded]) for field in fields(Windows))
    return Windows(*columns)


def in_rows(windows: Windows, rows: Ids) -> Windows:
    """Windows in the rows of another catalogue; items that have none there are left out.

    Args:
        windows: in rows of one catalogue.
        rows: (items + 1,) row of the other one for each row of it, 0 for none.
    """
    contexts, length = rows[windows.contexts], windows.contexts.shape[1]
    since = (contexts != PADDING) & (np.arange(length) >= length - windows.since_setup[:, None])
    return replace(
        windows,
        contexts=left_packed(contexts),
        targets=rows[windows.targets],
        since_setup=since.sum(axis=1),
        earlier=left_packed(rows[windows.earlier]).astype(np.int32),
    )


def left_packed(contexts: Ids) -> Ids:
    """(n, length) windows without the items that are not known, padded on the left."""
    order = np.argsort(contexts != PADDING, axis=1, kind="stable")
    return np.take_along_axis(contexts, order, axis=1)


class RowHistory(NamedTuple):
    """The newest items of one user as rows.

    Attributes:
        rows: (length,) catalogue rows, oldest first, left-padded with 0.
        since_setup: number of these, the newest ones, that came after the set-up slice.
        earlier: distinct rows that left, the one that left last at the end.
    """

    rows: Ids
    since_setup: int
    earlier: tuple[int, ...] = ()


class Histories:
    """The last `length` items of every user, and distinct ones before them.

    Attributes:
        length: items kept for each user.
        earlier: distinct items kept that left these.
    """

    def __init__(self, length: int, earlier: int = 0) -> None:
        self.length, self.earlier = length, earlier
        self._of: dict[str, RowHistory] = {}
        self._empty = RowHistory(np.zeros(length, dtype=np.int64), 0)
        # All strangers share it.
        self._empty.rows.setflags(write=False)

    def history(self, user_id: str) -> RowHistory:
        """The history of a user, all padding for a new one."""
        return self._of.get(user_id, self._empty)

    def replace(self, user_id: str, history: RowHistory) -> None:
        """Set the newest items of a user."""
        self._of[user_id] = history

    def __len__(self) -> int:
        return len(self._of)


def preceding_windows(
    interactions: Sequence[Interaction],
    row_of: Mapping[str, int],
    histories: Histories,
    *,
    since_setup: bool,
    first: int = 0,
) -> Windows:
    """Return the window that preceded each interaction, and append each to its user's history in turn.

    Args:
        interactions: n interactions in event order.
        row_of: catalogue row of every item id.
        histories: histories before the first interaction; every interaction is appended.
        since_setup: True if the interactions came after the set-up slice.
        first: number of the first interaction in its log.

    Returns:
        n windows, in the order given.
    """
    events = Interactions.of(interactions)
    targets = events.item_rows(row_of)
    contexts, since, earlier = _contexts(events, targets, histories, since_setup)
    positions, users, ids = np.arange(first, first + len(targets)), events.user_texts(), events.event_id_texts()
    return Windows(contexts, targets, users, ids, events.timestamps, since, positions, earlier)


def _contexts(
    events: Interactions, targets: NDArray[np.int64], histories: Histories, since_setup: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return the contexts, counts of items since set-up, and earlier items of n windows; the histories go on."""
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
    left = [h.earlier for h in before]
    earlier = _earlier(contexts, np.split(order, starts[1:]), left, histories.earlier)
    known = np.array([history.since_setup for history in before], dtype=np.int64)
    since = np.empty(len(order), dtype=np.int64)
    since[order] = np.minimum(known[group] + places * since_setup, length)
    newest = np.minimum(known + counts * since_setup, length)
    columns = (users.tolist(), fronts.tolist(), counts.tolist(), newest.tolist(), left)
    for user, front, count, new, gone in zip(*columns, strict=True):
        kept = rows[front + count : front + count + length].copy()
        histories.replace(events.user_ids[user], RowHistory(kept, new, gone))
    return contexts, since, earlier


def _earlier(
    contexts: NDArray[np.int64], of_users: Sequence[Ids], left: list[tuple[int, ...]], most: int
) -> NDArray[np.int32]:
    """Distinct items that left each window, at most the newest `most`.

    Args:
        contexts: (n, length) windows.
        of_users: the windows of each user, in event order.
        left: of each user, the items that left before the first of them; replaced by those after the last.
        most: items kept.
    """
    earlier = np.zeros((len(contexts), most), dtype=np.int32)
    if not most or not len(contexts):
        return earlier
    for user, windows in enumerate(of_users):
        gone = dict.fromkeys(left[user])
        for window in windows.tolist():
            if gone:
                kept = list(gone)[-most:]
                earlier[window, most - len(kept) :] = kept
            # A full window loses its oldest item to the event.
            oldest = int(contexts[window, 0])
            if oldest != PADDING:
                gone.pop(oldest, None)
                gone[oldest] = None
        left[user] = tuple(gone)[-most:]
    return earlier


def no_earlier(windows: int) -> NDArray[np.int32]:
    """(n, 0) earlier items of windows of which nothing is known but their items."""
    return np.zeros((windows, 0), dtype=np.int32)


def places_in_sequence(users: NDArray[np.str_]) -> NDArray[np.int64]:
    """(n,) position of each window in its user's sequence: the number of earlier rows with the same user."""
    places = np.empty(len(users), dtype=np.int64)
    seen: dict[str, int] = {}
    for i, user in enumerate(users):
        places[i] = seen.get(user, 0)
        seen[user] = int(places[i]) + 1
    return places
