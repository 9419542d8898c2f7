"""Windows: the last items of a user, and the item that came next.

A *window* is the fixed-length context that preceded an interaction, left-padded with row 0, together
with the interaction it precedes. Rows are catalogue rows (1 … n); 0 is no item. Where a backbone reads labelled
examples (`backbone.format: examples`), a context holds dislikes as well, each as the negative row of its item.
"""

from collections.abc import Collection, Mapping, Sequence
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
        disliked: ascending places in `items` of those that were disliked; the others were taken.
    """

    items: tuple[str, ...] = ()
    since_setup: int = 0
    earlier: tuple[str, ...] = ()
    disliked: tuple[int, ...] = ()

    @classmethod
    def of(cls, items: Sequence[str], length: int, since_setup: int, disliked: Sequence[int] = ()) -> Self:
        """The newest `length` of items that are given oldest first, with the places of disliked ones among them."""
        newest, left = tuple(items[-length:]), max(len(items) - length, 0)
        places = tuple(place - left for place in disliked if place >= left)
        return cls(newest, min(since_setup, len(newest)), disliked=places)

    @property
    def taken(self) -> tuple[str, ...]:
        """Ids of the items that were not disliked, oldest first."""
        return self.items if not self.disliked else self.without(self.disliked).items

    def append(self, item_id: str, length: int, *, since_setup: bool, disliked: bool = False) -> Self:
        """The history after one more item; where there are `length` items, the oldest one leaves."""
        places = (*self.disliked, len(self.items)) if disliked else self.disliked
        newest = self.of((*self.items, item_id), length, self.since_setup + since_setup, places)
        return replace(newest, earlier=self.earlier)

    def without(self, places: Collection[int]) -> Self:
        """The history without the items at some places."""
        kept = [place for place in range(len(self.items)) if place not in places]
        since = sum(place >= len(self.items) - self.since_setup for place in kept)
        disliked = tuple(new for new, place in enumerate(kept) if place in self.disliked)
        return replace(self, items=tuple(self.items[place] for place in kept), since_setup=since, disliked=disliked)


@dataclass(frozen=True)
class Windows:
    """n windows as arrays, in event order.

    Attributes:
        contexts: (n, length) int64 catalogue rows, oldest first, left-padded with 0; negative where disliked.
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


def taken_rows(contexts: Ids) -> Ids:
    """(...,) rows of contexts, 0 in place of items that were disliked."""
    return np.maximum(contexts, PADDING)


def left_packed(contexts: Ids) -> Ids:
    """(n, length) contexts whose padding lies in front, whatever lies between their items."""
    order = np.argsort(contexts != PADDING, axis=1, kind="stable")
    return np.take_along_axis(contexts, order, axis=1)


def packed(contexts: Ids, since_setup: Ids) -> tuple[Ids, Ids]:
    """Close the gaps that items have left in contexts.

    Args:
        contexts: (n, length) rows, 0 where an item was taken out.
        since_setup: (n,) number of the newest places that came after the set-up slice.

    Returns:
        (n, length) contexts, left-padded, and the (n,) number of their items since set-up.
    """
    length = contexts.shape[1]
    since = (contexts != PADDING) & (np.arange(length) >= length - since_setup[:, None])
    return left_packed(contexts), since.sum(axis=1)


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
    own = rows[np.abs(windows.contexts)] * np.sign(windows.contexts)
    contexts, since_setup = packed(own, windows.since_setup)
    return replace(
        windows,
        contexts=contexts,
        targets=rows[windows.targets],
        since_setup=since_setup,
        earlier=left_packed(rows[windows.earlier]).astype(np.int32),
    )


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
    counts: NDArray[np.bool_] | None = None,
) -> Windows:
    """Return the window that preceded each interaction, and append each to its user's history in turn.

    Args:
        interactions: n interactions in event order.
        row_of: catalogue row of every item id; an item that was only disliked may lack one.
        histories: histories before the first interaction; every interaction is appended.
        since_setup: True if the interactions came after the set-up slice.
        first: number of the first interaction that counts in its log.
        counts: (n,) False for dislikes: contexts hold them, and none is a target; None: there are no dislikes.

    Returns:
        The windows of the interactions that count, in the order given.
    """
    events = Interactions.of(interactions)
    rows = events.item_rows(row_of) if counts is None else _signed_rows(events, row_of, counts)
    contexts, since, earlier = _contexts(events, rows, histories, since_setup)
    positions = first + (np.arange(len(rows)) if counts is None else np.cumsum(counts) - 1)
    users, ids = events.user_texts(), events.event_id_texts()
    windows = Windows(contexts, rows, users, ids, events.timestamps, since, positions, earlier)
    return windows if counts is None else windows[counts]


def _signed_rows(events: Interactions, row_of: Mapping[str, int], counts: NDArray[np.bool_]) -> Ids:
    """(n,) rows of the items of interactions, negative for dislikes.

    The item of a dislike may have no row: it takes its place in a context with a row beyond all others.
    """
    beyond = max(row_of.values(), default=PADDING) + 1
    rows = np.array([row_of.get(item_id, beyond) for item_id in events.item_ids.tolist()], dtype=np.int64)
    signed: Ids = np.where(counts, rows[events.items], -rows[events.items])
    return signed


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
            # A full window loses its oldest item to the event; a dislike is forgotten.
            oldest = int(contexts[window, 0])
            if oldest > PADDING:
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
