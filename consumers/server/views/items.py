"""View of items: the catalogue as the log has it, and the tables of the model that follow it between batches.

    items  ──► records, tombstones, evictions
    gated  ──► interactions: an item that nobody announced exists from its first one on
    clock  ──► items begin and end

Only the follower changes them; requests read them batch by batch.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from adapters_store.errors import StoreError
from consumers.runtime.item_records import AT_ONCE, ItemFollower, item_of
from consumers.runtime.malformed import MALFORMED, OnSkipped, readable
from consumers.server.item_counts import ItemCounts, counts_of, is_known
from consumers.server.prepared_texts import PreparedTexts
from consumers.server.views.online import ServedOnlineState, Taken
from consumers.server.views.regions import ServedRegions
from pipeline.events.existence import Existence
from pipeline.events.item import Item
from pipeline.events.item_status import EVICTED, MARK
from pipeline.models.item_writing import write_items
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.item_attributes import ItemAttributes
from pipeline.streams.interface import Record
from pipeline.streams.topics import ITEMS
from pipeline.telemetry import Metrics

TOPICS = (ITEMS,)
"""Topics of this view."""

REMEMBERED = 100_000
"""Evictions that are remembered, to recognise interactions from before them that are read afterwards."""


class ServedItems:
    """Items that a server knows and recommends.

    Args:
        catalogue: the items, as set up.
        prepared: the catalogue's encoder, None without texts.
        live: regions, whose adapters follow.
        online: online counts, which follow.
        clock: seconds since 1970.
        on_skipped: called with each record that cannot be read, and the error.
        metrics: counts arrivals and evictions.

    Attributes:
        catalogue: the items; to be read between `live.batch()` and its end, or by the thread that changes it.
        existing: (items + 1,) True for catalogue rows that may be recommended.
        existence: the same, for the scorer.
        attributes: of the items that have rows; to be used as the catalogue.
    """

    def __init__(
        self,
        catalogue: OpenCatalogue,
        prepared: PreparedTexts | None,
        live: ServedRegions,
        online: ServedOnlineState,
        clock: Callable[[], float],
        on_skipped: OnSkipped,
        metrics: Metrics,
    ) -> None:
        self.catalogue = catalogue
        self.existing: NDArray[np.bool_] = catalogue.existing()
        self.existence: Existence = catalogue.existence()
        self.attributes = ItemAttributes(catalogue)
        self._follower = ItemFollower(catalogue, AT_ONCE, on_skipped)
        self._prepared, self._live, self._online = prepared, live, online
        self._clock, self._on_skipped, self._metrics = clock, on_skipped, metrics
        self._evicted: OrderedDict[str, int] = OrderedDict()
        self._forgotten = -1
        self._version = 0
        self._counted_at: tuple[int, ItemCounts] = (-1, ItemCounts(0, 0, 0, 0))

    def apply(self, records: Sequence[Record]) -> list[StoreError]:
        """Apply records of `items`, if any, and begin and end the items whose moment has come.

        Returns:
            The reasons for which adapters that move the items could not be loaded again.
        """
        now = self._clock()
        due = self.catalogue.due(now)
        if not records and not due:
            return []
        described = list(_items_of(records))
        self._prepare([*map(self.catalogue.item, due), *filter(self._has_new_text, described)])
        with self._live.between_batches():
            self.catalogue.advance(now)
            freed = [row for rows in readable(records, self._apply, self._on_skipped) for row in rows]
            renewed = self._show(freed, self.catalogue.known_rows(item.item_id for item in described))
        return self._live.follow(renewed)

    def take(self, taken: Iterable[Taken]) -> list[StoreError]:
        """Note interactions: their items exist from now on unless their records say otherwise.

        Those from before an eviction that was read already are passed over. Returns the same as `apply`.
        """
        others = []
        for item_id, next_item in taken:
            if self._changes_nothing(item_id):
                self.catalogue.take(item_id)
            elif item_id and self._evicted.get(item_id, self._forgotten) < next_item:
                others.append(item_id)
        if not others:
            return []
        self._prepare(map(self.catalogue.item, others))
        with self._live.between_batches():
            for item_id in others:
                with self._counted(item_id):
                    self.catalogue.take(item_id)
            renewed = self._show([], [])
        return self._live.follow(renewed)

    def counts(self) -> ItemCounts:
        """Numbers of items, computed anew once they have changed."""
        version, counts = self._counted_at
        if version != self._version:
            version = self._version
            counts = counts_of(self.catalogue)
            self._counted_at = version, counts
        return counts

    def _changes_nothing(self, item_id: str) -> bool:
        """True where an interaction with an item changes nothing that a request reads."""
        catalogue = self.catalogue
        return catalogue.exists(item_id) or (item_id in catalogue.row_of and catalogue.is_withdrawn(item_id))

    def _apply(self, record: Record) -> list[int]:
        """Apply a record of `items`; return the rows that it freed."""
        value = record.value or {}
        item_id = str(value.get("item_id", record.key)).strip()
        with self._counted(item_id):
            freed = self._follower.apply(record)
        if (record.key or "").startswith(MARK) and value.get("status") == EVICTED:
            self._remember_eviction(item_id, record.offset)
        return freed

    @contextmanager
    def _counted(self, item_id: str) -> Iterator[None]:
        """Count the arrival or eviction of an item in the block."""
        before = is_known(self.catalogue, item_id)
        yield
        after = is_known(self.catalogue, item_id)
        if after > before:
            self._metrics.items_arrived.inc()
        if after < before:
            self._metrics.items_evicted.inc()

    def _remember_eviction(self, item_id: str, offset: int) -> None:
        self._evicted[item_id] = offset
        self._evicted.move_to_end(item_id)
        if len(self._evicted) > REMEMBERED:
            _, self._forgotten = self._evicted.popitem(last=False)

    def _has_new_text(self, item: Item) -> bool:
        """True for an item with another text than before."""
        known = self.catalogue.item(item.item_id)
        return known is None or known.text != item.text

    def _prepare(self, items: Iterable[Item | None]) -> None:
        """Encode the texts that the catalogue is about to ask for."""
        if self._prepared is not None:
            self._prepared.prepare(item.text for item in items if item is not None and item.text)

    def _show(self, freed: Sequence[int], described: Sequence[int]) -> list[str]:
        """Let all tables follow the catalogue, between batches; return the ids of rows that are others now.

        Args:
            freed: rows of evicted items, even where other items have them already.
            described: rows of items with new records.
        """
        changed = self.catalogue.take_changes()
        if changed:
            self._write(changed)
            self._live.inject_changed(changed)
            self._online.resize(self.catalogue.rows)
        if freed:
            self._live.forward.forget_moves(freed)
            self._online.forget(freed)
        self.attributes.follow([*changed, *described])
        self.existing = self.catalogue.existing()
        self.existence = Existence.after(self.existing, (), 0)
        self._live.forward.hide(torch.from_numpy(~self.existing))
        self._version += 1
        return [self.catalogue.ids[row] for row in changed if row > len(self.catalogue.setup)]

    def _write(self, rows: Sequence[int]) -> None:
        """Write texts and rows of items into the tables of the model."""
        catalogue, forward = self.catalogue, self._live.forward
        write_items(forward.backbone, catalogue, rows)
        forward.set_items(catalogue.rows, rows)


def _items_of(records: Iterable[Record]) -> Iterator[Item]:
    """Items of producers' records; one that cannot be read is counted when it is applied."""
    for record in records:
        try:
            if record.value is not None:
                yield item_of(record)
        except MALFORMED:
            continue
