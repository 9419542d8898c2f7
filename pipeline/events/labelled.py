"""Windows of labelled examples: the newest interactions of a user, those that do not count included."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.events.interactions import Interactions
from pipeline.events.windows import Ids


@dataclass(frozen=True)
class LabelledContexts:
    """Windows of n interactions that count.

    Attributes:
        place_of: number of each interaction among them, by event id.
        rows: (n, length) catalogue rows, oldest first, left-padded with 0; negative where the item was disliked.
    """

    place_of: Mapping[str, int]
    rows: Ids

    def of(self, event_ids: Sequence[str]) -> Ids:
        """(m, length) windows of interactions that count."""
        return self.rows[[self.place_of[event_id] for event_id in event_ids]]


def labelled_contexts(
    events: Interactions, liked: NDArray[np.bool_], row_of: Mapping[str, int], length: int
) -> LabelledContexts:
    """Return the labelled window that preceded each interaction that counts.

    Args:
        events: n interactions in event order.
        liked: (n,) True for those that count.
        row_of: catalogue row of items. A disliked item is passed over until somebody has liked it: before that, no
            process need know it.
        length: interactions of a window, at most.
    """
    known: set[int] = set()
    newest: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=length))
    rows = np.array([row_of.get(item_id, 0) for item_id in events.item_ids.tolist()], dtype=np.int64)[events.items]
    signed = np.where(liked, rows, -rows).tolist()
    found = np.zeros((int(liked.sum()), length), dtype=np.int64)
    place = 0
    for user, row, counts in zip(events.users.tolist(), signed, liked.tolist(), strict=True):
        before = newest[user]
        if counts:
            found[place, length - len(before) :] = before
            place += 1
            known.add(row)
        if counts or -row in known:
            before.append(row)
    ids = events[np.flatnonzero(liked)].event_id_texts().tolist()
    return LabelledContexts({event_id: place for place, event_id in enumerate(ids)}, found)
