"""Catalogue of a replayed pipeline: it grows and forgets along the timeline, as a gate does along the log."""

from bisect import bisect_left, bisect_right

import numpy as np

from pipeline.events.existence import Absence, Existence
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.events.windows import PADDING, History, Ids, Windows, in_rows
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.strategies.base import StrategyContext


class ReplayedItems:
    """Rows of the pipeline, which are used again after an eviction, for those of the timeline, which are not.

    Args:
        context: of the strategy.

    Attributes:
        catalogue: the items, in rows of the pipeline.
    """

    def __init__(self, context: StrategyContext) -> None:
        self.catalogue = OpenCatalogue(context.setup.catalogue, context.encoder)
        for item in context.items.values():
            self.catalogue.describe(item, WHEN_TAKEN)
        self._items = context.items
        # Position from which the record of each evicted item is gone for good.
        self._gone: dict[str, int] = {}
        for eviction in reversed(context.timeline.evictions):
            self._gone |= dict.fromkeys(eviction.item_ids, eviction.position)
        self._timeline = context.timeline
        self._evictions = list(context.timeline.evictions)
        self._next = 0
        self._noted = 0, 0
        # Row here of every row of the timeline, 0 for an item that is not known here.
        self._rows = np.arange(len(context.timeline.item_ids) + 1)
        self._setup_items = len(context.setup.catalogue)
        self._rows[self._setup_items + 1 :] = PADDING

    def advance(self, positions: Ids) -> list[int]:
        """Grow up to windows at (n,) positions; return the rows of items that were evicted before them."""
        freed: list[int] = []
        while self._evictions and self._evictions[0].position <= positions[0]:
            evicted = self._evictions.pop(0)
            self._appear(evicted.position)
            freed += self.catalogue.evict(evicted.item_ids)
            gone = [self._timeline.row_of[item_id] for item_id in evicted.item_ids]
            self._rows[[row for row in gone if row > self._setup_items]] = PADDING
            # Some have come back already where they were evicted in the middle of a batch.
            self._next = min(self._next, evicted.position)
        self._appear(int(positions[-1]) + 1)
        return freed

    def of(self, windows: Windows) -> tuple[Windows, Existence]:
        """Windows and the existence of items, in rows of the pipeline."""
        existence = self._timeline.existence(windows.positions)
        existing = np.zeros(self.catalogue.rows + 1, dtype=np.bool_)
        present = np.ones(existence.items + 1, dtype=np.bool_)
        present[existence.hidden] = False
        existing[self._rows[: existence.items + 1][present]] = True
        existing[PADDING] = True
        absences = [Absence(int(self._rows[row]), start, stop) for row, start, stop in existence.absences]
        moved = in_rows(windows, self._rows)
        return moved, Existence(self.catalogue.rows, np.flatnonzero(~existing), absences, existence.repeats)

    def take_news(self) -> tuple[list[str], list[str]]:
        """Items that began, and items that were evicted, since the last call; the end of the batch included."""
        begun, evicted = self._noted
        timeline, end = self._timeline, self._next
        self._noted = (
            bisect_left(timeline.begun, end, key=lambda begin: begin[0]),
            bisect_right(timeline.evictions, end, key=lambda eviction: eviction.position),
        )
        gone = [item_id for eviction in timeline.evictions[evicted : self._noted[1]] for item_id in eviction.item_ids]
        return [item_id for _, item_id in timeline.begun[begun : self._noted[0]]], gone

    def record_of(self, item_id: str) -> Item | None:
        """The record of an item as an edit after the present batch finds it: without those evicted so far."""
        return None if self._gone.get(item_id, self._next + 1) <= self._next else self._items.get(item_id)

    def histories(self, windows: Windows) -> list[History]:
        """Items of windows by id."""
        ids = ("", *self._timeline.item_ids)
        read = ([row for row in context if row != PADDING] for context in windows.contexts.tolist())
        return [
            History(
                tuple(ids[abs(row)] for row in rows), since, disliked=tuple(i for i, row in enumerate(rows) if row < 0)
            )
            for rows, since in zip(read, windows.since_setup.tolist(), strict=True)
        ]

    def _appear(self, until: int) -> None:
        """Give rows to the items that appear before a position."""
        if until <= self._next:
            return
        for row in self._timeline.appearances(self._next, until):
            self._rows[row] = self.catalogue.add(self._timeline.item_ids[row - 1])
        self._next = until
