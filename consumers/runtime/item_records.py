"""Reader of `items`: every stage and server follows arrivals, changes, withdrawals and evictions through it."""

import math
from collections.abc import Mapping
from typing import Any

from consumers.runtime.malformed import MALFORMED, OnSkipped
from consumers.runtime.topic_reader import new_records
from pipeline.datasets import objects
from pipeline.events.item import Item
from pipeline.events.item_status import ARRIVED, MARK, ItemStatus
from pipeline.events.versioning import check_schema
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import ITEMS

AT_ONCE = -math.inf
"""`available_from` of an item that exists as soon as its record is read."""


def item_of(record: Record) -> Item:
    """The item of a producer's record; its key is the id where the value has none.

    Raises:
        BadEvent: the record cannot be used.
    """
    value: Mapping[str, Any] = record.value or {}
    check_schema(value)
    return objects.item_of(value, record.key)


def withdrawn_id(record: Record) -> str:
    """Id of the item that a record without a value withdraws, "" if it names none."""
    key = record.key or ""
    return "" if key.startswith(MARK) else key.strip()


class ItemFollower:
    """Takes over the records of `items` into one catalogue.

    Args:
        catalogue: the items of the process.
        unless_given: `available_from` of items whose record has none: `AT_ONCE`, or `WHEN_TAKEN` in lockstep, which
            follows a log that is replayed, where the moment of an announcement is unknown.
        on_skipped: called with each record that cannot be read, and the error; it changes nothing.

    Attributes:
        next_item: first offset that was not read yet.
    """

    def __init__(self, catalogue: OpenCatalogue, unless_given: float, on_skipped: OnSkipped) -> None:
        self.next_item = 0
        self._catalogue = catalogue
        self._unless_given = unless_given
        self._on_skipped = on_skipped
        self._offsets: dict[str, int] = {}

    def poll(self, log: Log, until: int | None = None) -> list[int]:
        """Take over new records, up to an offset if one is given; return the rows that evictions freed."""
        freed: list[int] = []
        for record in new_records(log, ITEMS, self.next_item):
            if until is not None and record.offset >= until:
                break
            freed += self.apply(record)
        return freed

    def apply(self, record: Record) -> list[int]:
        """Take over one record; return the rows that an eviction freed."""
        self.next_item = record.offset + 1
        try:
            status = None if record.value is None else ItemStatus.from_record(record.key, record.value)
            if status is not None:
                return self._apply_status(status)
            self._apply_item(record)
        except MALFORMED as error:
            self._on_skipped(record, error)
        return []

    def _apply_status(self, status: ItemStatus) -> list[int]:
        if status.status != ARRIVED:
            self._offsets.pop(status.item_id, None)
            return self._catalogue.evict([status.item_id])
        freed: list[int] = []
        if self._offsets.get(status.item_id, status.read) < status.read:
            freed = self._catalogue.evict([status.item_id])
            del self._offsets[status.item_id]
        self._catalogue.take(status.item_id)
        return freed

    def _apply_item(self, record: Record) -> None:
        if record.value is None:
            if withdrawn := withdrawn_id(record):
                self._catalogue.withdraw(withdrawn)
            return
        item = item_of(record)
        self._offsets[item.item_id] = record.offset
        available_from = self._unless_given if item.available_from is None else item.available_from
        self._catalogue.describe(item, available_from)
