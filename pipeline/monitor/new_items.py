"""New items: those that set-up lacks, and the windows that preceded them since they were last injected."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pipeline.config import EditSettings
from pipeline.events.edit import Edit, Evidence
from pipeline.regions.injection import EVERY_REGION

MOST_CONTEXTS = 32
"""Interactions with an item whose windows injections use; adapters learn from later ones."""

JUDGED = 256
"""Newest windows that judge an injection."""

SHARE = 64
"""An injection waits for news of one in so many of the new items."""

MOST_WAIT = 1_024
"""Items with news that an injection waits for at most, after rejected ones; an edit has no more."""


class NewItems:
    """News of items since their last injection: that they exist, and the windows that preceded them.

    Args:
        setup_items: ids of the items of set-up, which are never injected.
        settings: `inject_items`.

    Attributes:
        recent: newest windows with a history, whatever existing item followed them.
    """

    def __init__(self, setup_items: Collection[str], settings: EditSettings) -> None:
        self.recent: deque[Evidence] = deque(maxlen=JUDGED)
        self._setup = frozenset(setup_items)
        self._least = settings.inject_items
        self._wait = self._least
        self._contexts: dict[str, int] = {}
        self._news: dict[str, list[Evidence]] = {}

    @property
    def news(self) -> Mapping[str, list[Evidence]]:
        """Items with news, and the windows among them."""
        return self._news

    @property
    def needed(self) -> int:
        """Items with news that the next injection needs."""
        return min(max(self._wait, len(self._contexts) // SHARE), MOST_WAIT)

    def arrive(self, item_id: str) -> None:
        """Note that an item exists from now on."""
        if self._least and item_id not in self._setup:
            self._contexts.setdefault(item_id, 0)
            self._news.setdefault(item_id, [])

    def observe(self, item_id: str, window: Evidence, existed: bool) -> None:
        """Note a window with a history, the item that followed it, and whether it could have been recommended."""
        window = window.for_region(EVERY_REGION)
        if existed:
            self.recent.append(window)
        if not self._least or item_id in self._setup:
            return
        known = self._contexts.get(item_id, 0)
        if known < MOST_CONTEXTS:
            self._contexts[item_id] = known + 1
            self._news.setdefault(item_id, []).append(window)

    def forget(self, item_ids: Iterable[str]) -> None:
        """Forget evicted items; they may come back as new ones."""
        for item_id in item_ids:
            self._contexts.pop(item_id, None)
            self._news.pop(item_id, None)

    def erase(self, is_gone: Callable[[Evidence], bool]) -> None:
        """Remove windows; the items stay as new as they are."""
        self.recent = deque((e for e in self.recent if not is_gone(e)), maxlen=JUDGED)
        self._news = {i: [e for e in windows if not is_gone(e)] for i, windows in self._news.items()}

    def apply(self, edit: Edit, published: bool) -> None:
        """Remove the news that a published injection used; after a rejected one, wait for twice as many items.

        News that wait for `MOST_WAIT` items and are rejected again are given up.
        """
        if not published and self._wait < MOST_WAIT:
            self._wait = min(2 * self._wait, MOST_WAIT)
            return
        self._wait, used = self._least, {e.event_id for e in edit.windows}
        for item_id in edit.items:
            left = [e for e in self._news.pop(item_id, ()) if e.event_id not in used]
            if left:
                self._news[item_id] = left

    def state(self) -> dict[str, Any]:
        """Everything that is known, as a JSON object."""
        return {
            "recent": _cells(self.recent),
            "wait": self._wait,
            "contexts": self._contexts,
            "news": [[item_id, _cells(windows)] for item_id, windows in self._news.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state`."""
        self.recent.extend(_evidence(state["recent"]))
        self._wait, self._contexts = state["wait"], dict(state["contexts"])
        self._news = {item_id: _evidence(windows) for item_id, windows in state["news"]}


def _cells(windows: Iterable[Evidence]) -> list[list[Any]]:
    return [[e.event_id, e.offset] for e in windows]


def _evidence(cells: Iterable[Iterable[Any]]) -> list[Evidence]:
    return [Evidence(event_id, offset, EVERY_REGION) for event_id, offset in cells]
