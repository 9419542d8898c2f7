"""Open catalogue: the items that a process knows, each in a row of its own choosing.

Rows 1 to m are those of set-up for good. Any other item gets the lowest free row when it first exists or is first
taken, and frees it when it is evicted. No two processes need to agree on rows: records and adapters name items by id.

An item exists, that is, may be recommended, from its `available_from`, else from just after its first interaction. It
ends at `expires`, or with a tombstone, and can still be read in the windows of those who took it.
"""

import math
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.events.existence import Change, Existence
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.events.windows import PADDING, History, Ids
from pipeline.models.catalogue import Catalogue
from pipeline.models.text import TextEncoder

MOST_MOMENTS = 8
"""Moments kept for each record at most; two are needed."""


class Known(NamedTuple):
    """Record of an item, and the moment from which it is available, in seconds."""

    item: Item
    available_from: float

    @property
    def expires(self) -> float:
        """Moment at which the item ends, in seconds."""
        return math.inf if self.item.expires is None else self.item.expires


class OpenCatalogue:
    """Items by row, and which of them exist.

    Args:
        setup: the items of set-up.
        encoder: of the texts of other items; None where set-up has no text vectors.

    Attributes:
        setup: as given.
        row_of: row of every item that has one, by id.
        ids: id of every row, "" for padding and free rows.
    """

    def __init__(self, setup: Catalogue, encoder: TextEncoder | None) -> None:
        self.setup = setup
        self.row_of: dict[str, int] = dict(setup.row_of)
        self.ids = ["", *setup.item_ids]
        self._encoder = encoder
        self._known: dict[str, Known] = {}
        self._withdrawn: set[str] = set()
        self._taken = [True] * len(self.ids)
        self._exists = bytearray([False] + [True] * len(setup))
        self._free: list[int] = []
        self._moments: list[tuple[float, str]] = []
        self._now = -math.inf
        self._changed: set[int] = set()

    # Reading.

    @property
    def rows(self) -> int:
        """The highest row, in use or free."""
        return len(self.ids) - 1

    @property
    def now(self) -> float:
        """The latest moment that `advance` was called with, seconds."""
        return self._now

    def exists(self, item_id: str) -> bool:
        """True where an item exists."""
        return bool(self._exists[self.row_of.get(item_id, PADDING)])

    def has_record(self, item_id: str) -> bool:
        """True where a record describes an item, and no tombstone or eviction came after it."""
        return item_id in self._known

    def is_withdrawn(self, item_id: str) -> bool:
        """True where a tombstone withdrew an item."""
        return item_id in self._withdrawn

    def item(self, item_id: str) -> Item | None:
        """Record of an item, its id alone where there is none; None for an id that is not known."""
        known, row = self._known.get(item_id), self.row_of.get(item_id)
        if known is not None:
            return known.item
        if row is None:
            return None
        return Item(item_id, self.setup.texts[row - 1] if row <= len(self.setup) else "")

    def vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """(m, t) text embeddings of rows, zeros without text; texts that set-up lacks are encoded together."""
        setup, texts = self.setup, dict[int, str]()
        vectors = np.zeros((len(rows), setup.vectors.shape[1]), dtype=np.float32)
        for place, row in enumerate(rows):
            known = self._known.get(self.ids[row])
            if row <= len(setup) and (known is None or known.item.text == setup.texts[row - 1]):
                vectors[place] = setup.vectors[row - 1]
            elif known is not None and known.item.text:
                texts[place] = known.item.text
        if texts and self._encoder is not None:
            vectors[list(texts)] = self._encoder.encode(list(texts.values()))
        return vectors

    def existing(self) -> NDArray[np.bool_]:
        """(rows + 1,) True for rows that exist; padding does not."""
        return np.frombuffer(bytes(self._exists), dtype=np.bool_)

    def existence(self) -> Existence:
        """Existence as it stands, the same for every window."""
        return Existence.after(self.existing(), (), 0)

    def named(self) -> set[str]:
        """Ids of all items that have a row or a record; those of set-up even if they are evicted."""
        return self.row_of.keys() | self._known.keys()

    def known_rows(self, item_ids: Iterable[str]) -> list[int]:
        """Rows of items, in the order given; items without a row are left out."""
        return [self.row_of[item_id] for item_id in item_ids if item_id in self.row_of]

    def read(self, history: History, existence: Existence) -> History:
        """The part of a history that a model reads: of its dislikes, those of items that exist."""
        rows = np.array([self.row_of.get(history.items[place], PADDING) for place in history.disliked], dtype=np.int64)
        known = existence.includes(rows).tolist()
        return history.without([place for place, exists in zip(history.disliked, known, strict=True) if not exists])

    def contexts(self, histories: Sequence[History], length: int) -> tuple[Ids, Ids]:
        """(n, length) windows of histories, negative where disliked, and (n,) numbers of their items since set-up."""
        rows = np.zeros((len(histories), length), dtype=np.int64)
        since = np.zeros(len(histories), dtype=np.int64)
        for i, history in enumerate(histories):
            unknown = [place for place, item_id in enumerate(history.items) if item_id not in self.row_of]
            known = history.without(unknown) if unknown else history
            found = self.known_rows(known.items)
            for place in known.disliked:
                found[place] = -found[place]
            newest = found[-length:]
            rows[i, length - len(newest) :] = newest
            since[i] = min(known.since_setup, length)
        return rows, since

    # Changes of existence.

    def describe(self, item: Item, available_from: float) -> Change | None:
        """Take over the record of an item, in place of any earlier one.

        Args:
            item: from outside.
            available_from: seconds; `WHEN_TAKEN` for an item that exists from its first interaction on.
        """
        before, known = self._known.get(item.item_id), Known(item, available_from)
        self._known[item.item_id] = known
        self._withdrawn.discard(item.item_id)
        row = self.row_of.get(item.item_id)
        if row is not None and (before is None or before.item.text != item.text):
            self._changed.add(row)
        for moment in self._awaited(known):
            heappush(self._moments, (moment, item.item_id))
        if len(self._moments) > MOST_MOMENTS * len(self._known):
            # Moments of records that were replaced: a source may announce one item again and again.
            self._moments = [(moment, i) for i, of in self._known.items() for moment in self._awaited(of)]
            heapify(self._moments)
        return self._settle(item.item_id)

    def withdraw(self, item_id: str) -> Change | None:
        """End an item by a tombstone, until a later record of it."""
        self._known.pop(item_id, None)
        self._withdrawn.add(item_id)
        return self._settle(item_id)

    def due(self, now: float) -> list[str]:
        """Ids of the items that `advance` would look at."""
        if not self._moments or self._moments[0][0] > now:
            return []
        return [item_id for moment, item_id in self._moments if moment <= now]

    def advance(self, now: float) -> list[Change]:
        """Begin and end the items whose moment has come, in order of moments."""
        self._now = max(self._now, now)
        changes = []
        while self._moments and self._moments[0][0] <= self._now:
            change = self._settle(heappop(self._moments)[1])
            if change is not None:
                changes.append(change)
        return changes

    def take(self, item_id: str) -> Change | None:
        """Note an interaction: the item has a row from now on, and exists unless its record says otherwise."""
        row = self.add(item_id)
        self._taken[row] = True
        return self._settle(item_id)

    def pass_events(self, timestamps: Sequence[float], item_ids: Sequence[str]) -> list[Change]:
        """Note n interactions in event order.

        Returns:
            The changes among them: an item that begins by its moment is there for the event at that moment, and one
            that begins by its first interaction for the event after it.
        """
        changes = []
        for index, (timestamp, item_id) in enumerate(zip(timestamps, item_ids, strict=True)):
            changes += [change.at(index) for change in self.advance(timestamp)]
            begun = self.take(item_id)
            if begun is not None:
                changes.append(begun.at(index + 1))
        return changes

    def evict(self, item_ids: Iterable[str], *, keep_rows: bool = False) -> list[int]:
        """Forget items and their texts; every one can come back.

        Args:
            item_ids: an item of set-up keeps its row and what set-up knows of it.
            keep_rows: True if the others keep theirs, too.

        Returns:
            The rows that are free now.
        """
        freed = []
        for item_id in item_ids:
            self._known.pop(item_id, None)
            self._withdrawn.discard(item_id)
            row = self.row_of.get(item_id)
            if row is None:
                continue
            self._exists[row] = self._taken[row] = False
            self._changed.add(row)
            if row > len(self.setup) and not keep_rows:
                del self.row_of[item_id]
                self.ids[row] = ""
                heappush(self._free, row)
                freed.append(row)
        return freed

    # Rows.

    def add(self, item_id: str) -> int:
        """Return the row of an item; one without a row gets the lowest free one."""
        row = self.row_of.get(item_id)
        if row is None:
            row = heappop(self._free) if self._free else len(self.ids)
            if row == len(self.ids):
                self.ids.append("")
                self._taken.append(False)
                self._exists.append(False)
            self.ids[row], self.row_of[item_id] = item_id, row
            self._changed.add(row)
        return row

    def take_changes(self) -> list[int]:
        """Rows whose item or text has changed since the last call, ascending."""
        changed, self._changed = sorted(self._changed), set()
        return changed

    def others(self) -> list[str]:
        """Ids of the rows beyond set-up, in order, "" for free ones."""
        return self.ids[len(self.setup) + 1 :]

    def untaken(self) -> list[str]:
        """Ids of the items that have a row and were not taken since they got it, or were evicted from set-up."""
        return [item_id for item_id, row in self.row_of.items() if not self._taken[row]]

    def restore(self, others: Sequence[str], untaken: Iterable[str], now: float) -> None:
        """Take over rows as `others` and `untaken` gave them, at the moment `now`; records of items stay."""
        size = len(self.setup) + 1
        self.row_of = dict(self.setup.row_of)
        del self.ids[size:], self._taken[size:], self._exists[size:]
        self._free = []
        for row, item_id in enumerate(others, start=size):
            self.ids.append(item_id)
            self._taken.append(True)
            self._exists.append(False)
            self._changed.add(row)
            if item_id:
                self.row_of[item_id] = row
            else:
                self._free.append(row)
        for item_id in untaken:
            self._taken[self.row_of[item_id]] = False
        self._now = max(self._now, now)
        for item_id in list(self.row_of):
            self._settle(item_id)

    def _awaited(self, known: Known) -> list[float]:
        """Moments to come at which an item begins or ends."""
        return [moment for moment in (known.available_from, known.expires) if self._now < moment < math.inf]

    def _settle(self, item_id: str) -> Change | None:
        """Make an item exist, or end, as its record and its interactions say; None where nothing changes."""
        known, row = self._known.get(item_id), self.row_of.get(item_id)
        available_from = known.available_from if known else WHEN_TAKEN
        begun = self._now >= available_from or (
            row is not None and self._taken[row] and (available_from == WHEN_TAKEN or row <= len(self.setup))
        )
        ended = item_id in self._withdrawn or (known is not None and self._now >= known.expires)
        exists = begun and not ended
        if exists:
            row = self.add(item_id)
        if row is None or self._exists[row] == exists:
            return None
        self._exists[row] = exists
        return Change(0, row, exists)
