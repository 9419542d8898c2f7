"""Records of items for a trainer: it looks up the texts of an edit's items and of no others."""

from collections.abc import Mapping
from typing import Any

from consumers.runtime.item_records import item_of
from consumers.runtime.topic_reader import new_records
from pipeline.errors import BadEvent
from pipeline.events.item import Item
from pipeline.events.item_status import EVICTED, ItemStatus
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import ITEMS


class ItemRecords:
    """The newest record of every item that is known and not evicted.

    Args:
        log: has the topic `items`.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._position = 0
        self._items: dict[str, tuple[int, Item]] = {}

    def get(self, item_id: str) -> Item | None:
        """The record of an item, None for one known by its id alone."""
        known = self._items.get(item_id)
        return None if known is None else known[1]

    def poll(self) -> None:
        """Read new records; those that cannot be used change nothing, the monitor reports them."""
        for record in new_records(self._log, ITEMS, self._position):
            self._position = record.offset + 1
            if record.value is None:
                self._items.pop((record.key or "").strip(), None)
                continue
            try:
                self._apply(record, record.value)
            except (BadEvent, KeyError, TypeError, ValueError, OverflowError):
                continue

    def _apply(self, record: Record, value: Mapping[str, Any]) -> None:
        status = ItemStatus.from_record(record.key, value)
        if status is None:
            item = item_of(record)
            self._items[item.item_id] = record.offset, item
        elif status.status == EVICTED or self._items.get(status.item_id, (status.read,))[0] < status.read:
            self._items.pop(status.item_id, None)
