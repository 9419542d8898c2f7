"""Timeline: which items exist at each event of a log, for replay.

Catalogue rows of a replay are in order of appearance: those of set-up by id, then each item in turn as it is first
taken or becomes available. A row is never used again.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ItemSettings
from pipeline.events.existence import Change, Existence
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.events.windows import Ids
from pipeline.models.catalogue import Catalogue
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.monitor.item_owner import ItemOwner


class Stream(NamedTuple):
    """Counted interactions after set-up, in event order.

    Attributes:
        first: number of the first of them in its log.
        timestamps: (n,) seconds.
        item_ids: (n,) the items.
        batches: ascending numbers of the interactions after which a batch ends, the last one included.
        users: (n,) the users.
    """

    first: int
    timestamps: NDArray[np.float64]
    item_ids: Sequence[str]
    batches: Sequence[int]
    users: Sequence[str]


class Eviction(NamedTuple):
    """Items that are forgotten before an event of the log."""

    position: int
    item_ids: Sequence[str]


class Timeline:
    """Existence of items over the stream of a log.

    Args:
        items: of the log, by id.
        setup_ids: ids of the items of set-up, sorted.
        stream: the events.
        settings: section `items`.
        repeats: setting `windows.repeats`.

    Attributes:
        item_ids: id of every row from 1 on.
        setup_items: number of items of set-up.
        evictions: in order.
        begun: items that begin to exist, or come back, each with the event that it begins with, in order.
    """

    def __init__(
        self,
        items: Mapping[str, Item],
        setup_ids: Sequence[str],
        stream: Stream,
        settings: ItemSettings,
        *,
        repeats: bool = False,
    ) -> None:
        self._repeats = repeats
        none = np.zeros((len(setup_ids), 0), dtype=np.float32)
        self._catalogue = OpenCatalogue(Catalogue(tuple(setup_ids), ("",) * len(setup_ids), none, ""), None)
        self.setup_items = len(setup_ids)
        self.evictions: list[Eviction] = []
        self.begun: list[tuple[int, str]] = []
        self._first = stream.first
        self._users = stream.users
        self._rows: list[int] = []
        self._appearances: list[tuple[int, int]] = []
        self._changes: list[Change] = []
        owner = ItemOwner(setup_ids, settings)
        for item in items.values():
            available_from = WHEN_TAKEN if item.available_from is None else item.available_from
            self._catalogue.describe(item, available_from)
            owner.announce(item.item_id, available_from)
        self._run(stream, owner)
        self.item_ids = tuple(self._catalogue.ids[1:])
        self._indices = np.array([change.index for change in self._changes], dtype=np.int64)
        self._existing = self._at_start()
        self._applied = 0

    @property
    def end(self) -> int:
        """Number of the event after the last one of the log."""
        return self._first + len(self._rows)

    @property
    def row_of(self) -> Mapping[str, int]:
        """Row of every item that appears, by id."""
        return self._catalogue.row_of

    def last_row(self, position: int) -> int:
        """Highest row that an event of the log, or an earlier one, has brought."""
        done = min(position - self._first, len(self._rows) - 1)
        return self._rows[done] if done >= 0 else self.setup_items

    def appearances(self, start: int, stop: int) -> list[int]:
        """Rows of the items that events from `start` to before `stop` bring, or bring back, in order."""
        return [row for position, row in self._appearances if start <= position < stop]

    def taken_since(self, users: Sequence[str], positions: Ids, start: int) -> Ids:
        """(n,) interactions of n users from event `start` of the log to before the event at each of (n,) positions."""
        found = ((self._by_user.get(user, ()), p) for user, p in zip(users, positions.tolist(), strict=True))
        return np.array([bisect_left(of, max(p, start)) - bisect_left(of, start) for of, p in found], dtype=np.int64)

    def existence(self, positions: Ids) -> Existence:
        """Existence for windows at (n,) ascending positions of the log."""
        start, stop = np.searchsorted(self._indices, [positions[0], positions[-1]], side="right").tolist()
        self._go_to(stop)
        existing = self._existing[: self.last_row(int(positions[-1])) + 1]
        within = self._changes[start:stop]
        firsts = np.searchsorted(positions, [change.index for change in within]).tolist()
        moved = (change.at(first) for change, first in zip(within, firsts, strict=True))
        return Existence.after(existing, moved, len(positions), repeats=self._repeats)

    @cached_property
    def _by_user(self) -> dict[str, list[int]]:
        """Positions of the interactions of each user, ascending."""
        positions: dict[str, list[int]] = {}
        for position, user in enumerate(self._users, start=self._first):
            positions.setdefault(user, []).append(position)
        return positions

    def _run(self, stream: Stream, owner: ItemOwner) -> None:
        ends, catalogue = set(stream.batches), self._catalogue
        for number, (timestamp, item_id) in enumerate(zip(stream.timestamps.tolist(), stream.item_ids, strict=True)):
            position, before = stream.first + number, catalogue.rows
            changes = catalogue.pass_events([timestamp], [item_id])
            self._changes += [change.at(position + change.index) for change in changes]
            came = [change.row for change in changes if change.exists]
            appeared = [row for row in came if row <= before] + list(range(before + 1, catalogue.rows + 1))
            self._appearances += [(position, row) for row in appeared]
            self._rows.append(catalogue.rows)
            owner.observe(item_id, timestamp)
            self.begun += [(position, begun) for begun in owner.take_begun()]
            if number in ends:
                self._evict(owner.evict(), position + 1)

    def _evict(self, item_ids: Sequence[str], position: int) -> None:
        if item_ids:
            self.evictions.append(Eviction(position, item_ids))
            rows = [self._catalogue.row_of[item_id] for item_id in item_ids if self._catalogue.exists(item_id)]
            self._changes += [Change(position, row, exists=False) for row in rows]
            self._catalogue.evict(item_ids, keep_rows=True)

    def _at_start(self) -> NDArray[np.bool_]:
        existing = np.zeros(self._catalogue.rows + 1, dtype=np.bool_)
        existing[1 : self.setup_items + 1] = True
        return existing

    def _go_to(self, changes: int) -> None:
        """Set `_existing` to the state after so many changes."""
        if changes < self._applied:
            self._existing, self._applied = self._at_start(), 0
        for change in self._changes[self._applied : changes]:
            self._existing[change.row] = change.exists
        self._applied = changes
