"""Windows of labelled examples: the newest interactions of a user, dislikes included.

A dislike takes a place among these like any other interaction, and is read where its item exists by then: before
somebody has taken an item, no process need know it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.events.existence import Existence
from pipeline.events.interactions import Interactions
from pipeline.events.windows import PADDING, Histories, Ids, Windows, packed, preceding_windows


@dataclass(frozen=True)
class LabelledContexts:
    """Windows of n interactions that count.

    Attributes:
        place_of: number of each interaction among them, by event id.
        rows: (n, length) catalogue rows, oldest first, left-padded with 0; negative where the item was disliked.
    """

    place_of: Mapping[str, int]
    rows: Ids

    def of(self, windows: Windows) -> Windows:
        """The labelled windows of the same interactions, with all their dislikes."""
        return replace(
            windows, contexts=self.rows[[self.place_of[event_id] for event_id in windows.event_ids.tolist()]]
        )


def labelled_contexts(
    events: Interactions, counts: NDArray[np.bool_], row_of: Mapping[str, int], length: int
) -> LabelledContexts:
    """Return the labelled window that preceded each interaction that counts.

    Args:
        events: n interactions in event order.
        counts: (n,) True for those that count, False for dislikes.
        row_of: catalogue row of items.
        length: interactions of a window, at most.
    """
    windows = preceding_windows(events, row_of, Histories(length), since_setup=False, counts=counts)
    ids = windows.event_ids.tolist()
    return LabelledContexts({event_id: place for place, event_id in enumerate(ids)}, windows.contexts)


def with_existing_dislikes(windows: Windows, existence: Existence) -> Windows:
    """Windows without the dislikes of items that do not exist for them."""
    unknown = (windows.contexts < PADDING) & ~existence.includes(-windows.contexts)
    if not unknown.any():
        return windows
    contexts, since_setup = packed(np.where(unknown, PADDING, windows.contexts), windows.since_setup)
    return replace(windows, contexts=contexts, since_setup=since_setup)
