"""Windows: what a user met last, and the item that came next.

A *window* is the fixed-length context that preceded an interaction, left-padded with row 0, together
with the interaction it precedes. Rows are catalogue rows (1 … n); 0 is no item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions

Ids = NDArray[np.int64]
"""Catalogue rows or region ids."""

PADDING = 0
"""The catalogue row that stands for no item."""


class History(NamedTuple):
    """What a user met last.

    Attributes:
        rows: (length,) int64 catalogue rows, oldest first, left-padded with 0.
        since_setup: how many of these, the newest ones, set-up had not seen: 0 to length.
    """

    rows: Ids
    since_setup: int


@dataclass(frozen=True)
class Windows:
    """n windows as arrays, in event order.

    Attributes:
        contexts: (n, length) int64 catalogue rows, oldest first, left-padded with 0.
        targets: (n,) int64 catalogue row of the interaction that followed.
        users: (n,) user ids.
        event_ids: (n,) id of the interaction that followed.
        timestamps: (n,) its time in seconds.
        since_setup: (n,) int64 how many items of each context, the newest ones, were taken since set-up.
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
    """Join windows in the given order; at least one part."""
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
        """What the user met last, all padding for a user never met."""
        return self._of.get(user_id) or History(np.zeros(self.length, dtype=np.int64), 0)

    def append(self, user_id: str, row: int, since_setup: bool) -> None:
        """Add the newest item of a user; the oldest one leaves."""
        before = self.history(user_id)
        count = min(before.since_setup + since_setup, self.length)
        self._of[user_id] = History(np.append(before.rows[1:], row), count)

    def replace(self, user_id: str, history: History) -> None:
        """Set what a user met last."""
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
        histories: carried on from call to call.
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
        histories.replace(events.user_ids[user], History(rows[front + count : front + count + length].copy(), new))
    return contexts, since


def places_in_sequence(users: NDArray[np.str_]) -> NDArray[np.int64]:
    """(n,) how many earlier rows have the same user: a window's place in its user's sequence."""
    places = np.empty(len(users), dtype=np.int64)
    seen: dict[str, int] = {}
    for i, user in enumerate(users):
        places[i] = seen.get(user, 0)
        seen[user] = int(places[i]) + 1
    return places
