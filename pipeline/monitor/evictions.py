"""Evictions: items that nobody took for long leave the catalogue, so that its memory is bounded.

An eviction is no withdrawal: the item comes back with its next interaction or record.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from pipeline.config import ItemSettings


class EvictionRule:
    """Items in the order in which they were last taken, the longest untaken first.

    Args:
        item_ids: items of set-up, in any order; they count as taken before the stream.
        settings: `time_to_live` and `most`.
    """

    def __init__(self, item_ids: Iterable[str], settings: ItemSettings) -> None:
        self._last: OrderedDict[str, float | None] = OrderedDict((item_id, None) for item_id in sorted(item_ids))
        self._settings = settings

    def __len__(self) -> int:
        return len(self._last)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._last

    def take(self, item_id: str, timestamp: float) -> None:
        """Note an interaction, or the record of an item, at a moment in seconds."""
        self._last[item_id] = timestamp
        self._last.move_to_end(item_id)

    def due(self, now: float) -> list[str]:
        """Remove and return the items to evict at a moment of event time, the longest untaken first."""
        found = []
        while self._last:
            item_id, moment = next(iter(self._last.items()))
            if moment is None:
                # The time to live of an item of set-up begins with the stream.
                self._last[item_id] = moment = now
            if len(self._last) <= self._settings.most and not self._is_old(moment, now):
                break
            del self._last[item_id]
            found.append(item_id)
        return found

    def to_list(self) -> list[list[object]]:
        """Items with their moments, in order."""
        return [[item_id, moment] for item_id, moment in self._last.items()]

    def restore(self, items: Sequence[Sequence[object]]) -> None:
        """Continue from the result of `to_list`."""
        self._last = OrderedDict((str(item_id), moment) for item_id, moment in items)  # type: ignore[misc]

    def _is_old(self, moment: float, now: float) -> bool:
        time_to_live = self._settings.time_to_live
        return time_to_live is not None and now - moment > time_to_live
