"""Lists of items that need no user, for batches of requests: the newest, the trending, and those similar to an item."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consumers.server.listing import Listing, Listings, Recommended, Wanted
from consumers.server.rules import NO_RULES, Rules
from consumers.server.views.items import ServedItems
from consumers.server.views.online import ServedOnlineState
from consumers.server.views.region_events import RegionEvents
from consumers.server.views.regions import ServedRegions
from pipeline.errors import RequestError
from pipeline.metrics.ranking import LIST_LENGTH
from pipeline.recommend.item_lists import ItemLists


@dataclass(frozen=True)
class ListAsk:
    """One request for a list without a user.

    Attributes:
        kind: what the list holds.
        k: number of items.
        exclude: ids of items that it must not hold.
        rules: what it may hold.
        region_id: live region whose users count, for the newest and the trending; None: all users.
        item_id: item that the others are similar to.
    """

    kind: Literal["newest", "trending", "similar"]
    k: int = LIST_LENGTH
    exclude: tuple[str, ...] = ()
    rules: Rules = NO_RULES
    region_id: int | None = None
    item_id: str = ""


ListAnswer = tuple[Recommended, ...] | RequestError
"""Items, best first, or the error of a request that cannot be answered."""


class Lister:
    """Makes lists for batches of requests.

    Args:
        live: regions.
        items: items by row.
        online: counts and events.
    """

    def __init__(self, live: ServedRegions, items: ServedItems, online: ServedOnlineState) -> None:
        self._live, self._items, self._online = live, items, online
        self._listings = Listings(items)

    def answer(self, asks: Sequence[ListAsk]) -> list[ListAnswer]:
        """Answer requests, in their order; one that cannot be answered has its error as its answer."""
        with self._live.batch():
            return [self._answer(ask) for ask in asks]

    def _answer(self, ask: ListAsk) -> ListAnswer:
        (listing,) = self._listings.begin([Wanted(ask.rules, ask.k, [*ask.exclude, ask.item_id])])
        if isinstance(listing, RequestError):
            return listing
        try:
            with self._online.lists() as (lists, events):
                if ask.kind == "similar":
                    return self._similar(ask, listing, lists)
                return self._by_events(ask, listing, lists, events)
        except RequestError as error:
            return error

    def _by_events(
        self, ask: ListAsk, listing: Listing, lists: ItemLists, events: RegionEvents
    ) -> tuple[Recommended, ...]:
        """The newest items or the trending, of all users or of those of a region."""
        weights = {} if ask.region_id is None else events.weights(ask.region_id)
        row_of = self._items.catalogue.row_of
        taken = {row_of[item_id]: weight for item_id, weight in weights.items() if item_id in row_of}
        rows = np.array(list(taken), dtype=np.int64)
        if ask.kind == "newest":
            return listing.fill(lists.newest(None if ask.region_id is None else rows))
        return listing.fill(lists.trending(rows, np.array(list(taken.values()), dtype=np.float64)))

    def _similar(self, ask: ListAsk, listing: Listing, lists: ItemLists) -> tuple[Recommended, ...]:
        row_of = self._items.catalogue.row_of
        if ask.item_id not in row_of:
            raise RequestError("this item has not begun to exist: nothing is similar to it yet")
        scores = lists.similar(row_of[ask.item_id])
        found_by = scores.found_by(listing.allowed)
        return tuple(
            replace(one, sources=tuple(name for name, rows in found_by.items() if row_of[one.item_id] in rows))
            for one in listing.fill(scores)
        )
