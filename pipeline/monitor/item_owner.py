"""Owner of the catalogue: notes which items arrive, and evicts those that nobody took for long.

Evictions bound the memory of every process. An eviction is no withdrawal: the item comes back with its next
interaction or record.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from typing import Any

from pipeline.config import ItemSettings


class ItemOwner:
    """Known items in the order in which they were last taken, the longest untaken first.

    Args:
        item_ids: items of set-up, in any order; their time to live begins with the stream.
        settings: `time_to_live` and `most`.
    """

    def __init__(self, item_ids: Iterable[str], settings: ItemSettings) -> None:
        self._settings = settings
        self._last: OrderedDict[str, float | None] = OrderedDict((item_id, None) for item_id in sorted(item_ids))
        # The moment from which each is available; infinity for one that exists when it is taken.
        self._announced: dict[str, float] = {}
        self._moments: list[tuple[float, str]] = []
        self._now = -math.inf
        self._begun: float | None = None
        self._new: list[str] = []

    def __len__(self) -> int:
        return len(self._last)

    def announce(self, item_id: str, available_from: float) -> None:
        """Note the record of an item.

        Args:
            item_id: id of the item.
            available_from: seconds; minus infinity for at once, infinity for an item that exists when it is taken.
        """
        if item_id in self._last:
            return
        if available_from <= self._now or available_from == -math.inf:
            self._add(item_id, None if self._now == -math.inf else self._now)
            return
        before, self._announced[item_id] = self._announced.get(item_id), available_from
        if before != available_from < math.inf:
            heappush(self._moments, (available_from, item_id))
            if len(self._moments) > 2 * len(self._announced):
                self._moments = self._awaited()

    def waits_to_be_taken(self, item_id: str) -> bool:
        """True for an announced item that exists from its first interaction on, which is still to come."""
        return item_id not in self._last and self._announced.get(item_id) == math.inf

    def observe(self, item_id: str, timestamp: float) -> bool:
        """Note an interaction at an event time; return True if nobody announced its item."""
        self._advance(timestamp)
        arrived = item_id not in self._last and item_id not in self._announced
        self._add(item_id, timestamp)
        return arrived

    def evict(self) -> list[str]:
        """Remove and return the items that are due, the longest untaken first."""
        found: list[str] = []
        while self._last:
            item_id, moment = next(iter(self._last.items()))
            if moment is None:
                moment = self._now if self._begun is None else self._begun
            if len(self._last) <= self._settings.most and not self._is_old(moment):
                break
            del self._last[item_id]
            self._announced.pop(item_id, None)
            found.append(item_id)
        return found

    def take_begun(self) -> list[str]:
        """Ids of the items that began to exist, or came back, since the last call."""
        begun, self._new = self._new, []
        return begun

    def state(self) -> dict[str, Any]:
        """Everything that is known, as a JSON object."""
        now = None if self._now == -math.inf else self._now
        return {
            "last": [(item_id, self._begun if moment is None else moment) for item_id, moment in self._last.items()],
            "announced": sorted(self._announced),
            "moments": self._awaited(),
            "now": now,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state`."""
        self._last = OrderedDict((item_id, moment) for item_id, moment in state["last"])
        self._moments = [(moment, item_id) for moment, item_id in state["moments"]]
        self._announced = dict.fromkeys(state["announced"], math.inf)
        self._announced |= {item_id: moment for moment, item_id in self._moments}
        self._now = -math.inf if state["now"] is None else state["now"]
        self._begun = None

    def _add(self, item_id: str, moment: float | None) -> None:
        if item_id not in self._last:
            self._new.append(item_id)
        self._last[item_id] = moment
        self._last.move_to_end(item_id)

    def _advance(self, timestamp: float) -> None:
        self._now = max(self._now, timestamp)
        self._begun = timestamp if self._begun is None else self._begun
        while self._moments and self._moments[0][0] <= self._now:
            moment, item_id = heappop(self._moments)
            if self._announced.get(item_id) == moment and item_id not in self._last:
                self._add(item_id, self._now)

    def _awaited(self) -> list[tuple[float, str]]:
        """Moments to come, ascending."""
        return sorted((moment, item_id) for item_id, moment in self._announced.items() if self._now < moment < math.inf)

    def _is_old(self, moment: float) -> bool:
        settings = self._settings
        return settings.time_to_live is not None and self._now - moment > settings.time_to_live
