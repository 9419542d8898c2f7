"""Lists of items that need no user, for batches of requests: the newest, the trending, and those similar to an item."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consumers.server.listing import Listing, Listings, Recommended, Wanted
from consumers.server.rules import NO_RULES, Rules
from consumers.server.views.items import ServedItems
from consumers.server.views.online import ServedOnlineState
from consumers.server.views.regions import ServedRegions
from pipeline.arrays import Array
from pipeline.errors import RequestError
from pipeline.metrics.ranking import LIST_LENGTH
from pipeline.recommend.item_lists import ItemLists
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Status
from pipeline.regions.vmf import shares_among


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
        online: counts.
        setup_bank: the regions before any revision.
    """

    def __init__(
        self, live: ServedRegions, items: ServedItems, online: ServedOnlineState, setup_bank: RegionBank
    ) -> None:
        self._live, self._items, self._online, self._setup_bank = live, items, online, setup_bank
        self._listings = Listings(items)

    def answer(self, asks: Sequence[ListAsk]) -> list[ListAnswer]:
        """Answer requests, in their order; one that cannot be answered has its error as its answer."""
        with self._live.batch() as view:
            return [self._answer(ask, view.bank) for ask in asks]

    def _answer(self, ask: ListAsk, bank: RegionBank) -> ListAnswer:
        (listing,) = self._listings.begin([Wanted(ask.rules, ask.k, [*ask.exclude, ask.item_id])])
        if isinstance(listing, RequestError):
            return listing
        try:
            shares = None if ask.region_id is None else setup_shares(ask.region_id, bank, self._setup_bank)
            with self._online.lists() as lists:
                if ask.kind == "similar":
                    return self._similar(ask, listing, lists)
                scores = lists.newest(shares) if ask.kind == "newest" else lists.trending(shares)
                return listing.fill(scores)
        except RequestError as error:
            return error

    def _similar(self, ask: ListAsk, listing: Listing, lists: ItemLists) -> tuple[Recommended, ...]:
        row = self._items.catalogue.row_of.get(ask.item_id)
        if row is None:
            raise RequestError("this server knows no such item, or it has not begun to exist")
        scores = lists.similar(row, len(self._setup_bank.setup))
        found_by, row_of = scores.found_by(listing.allowed), self._items.catalogue.row_of
        return tuple(
            replace(one, sources=tuple(name for name, rows in found_by.items() if row_of[one.item_id] in rows))
            for one in listing.fill(scores)
        )


def setup_shares(region_id: int, bank: RegionBank, setup_bank: RegionBank) -> Array:
    """(regions,) shares of the set-up regions whose users are those of a region.

    Users are counted by set-up regions. A region of set-up is one of them. One that was opened since has the shares
    that its centroid would have as a window of set-up.

    Args:
        region_id: a live region.
        bank: the regions in force.
        setup_bank: the regions before any revision.

    Raises:
        RequestError: there is no such live region.
    """
    region = next((r for r in bank.regions if r.region_id == region_id and r.status is Status.LIVE), None)
    if region is None:
        raise RequestError(f"there is no live region {region_id}")
    ids = [known.region_id for known in setup_bank.setup]
    if region_id in ids:
        own: Array = np.eye(len(ids))[ids.index(region_id)]
        return own
    shares: Array = shares_among(setup_bank.setup, region.centroid[None])[0]
    return shares
