"""Names of columns by meaning."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

FIELDS = ("user_id", "item_id", "timestamp", "value", "event_id")
"""Fields of an interaction."""

EVENT_TYPE = "event_type"
"""Field with the kind of event: read only where settings say which kinds count."""

REQUIRED = ("user_id", "item_id", "timestamp")

MEANINGS = {
    **{"user_id": "user", "item_id": "item", "timestamp": "time", "value": "value", "event_id": "event id"},
    EVENT_TYPE: "kind of event",
}
"""Fields as they are shown."""

TIERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "user_id": (
        ("userid",),
        ("user", "uid", "reviewerid", "customerid", "visitorid"),
        ("sessionid", "session"),
    ),
    "item_id": (
        ("itemid",),
        ("item", "iid", "movieid", "productid", "trackid", "songid", "bookid", "articleid", "newsid", "parentasin"),
        ("sku", "asin", "isbn"),
    ),
    "timestamp": (
        ("timestamp",),
        ("ts", "time", "datetime", "unixtime", "unixreviewtime", "eventtime", "createdat"),
        ("date",),
    ),
    "value": (("rating",), ("score", "value", "stars", "overall")),
    "event_id": (("eventid",),),
    EVENT_TYPE: (
        ("eventtype",),
        ("event", "action", "behavior", "behaviour", "interaction", "actiontype", "interactiontype"),
        ("type", "kind"),
    ),
}
"""Names of a column by meaning, in lower case and without separators: the surest first, equally sure ones together."""

RANKS: Mapping[str, tuple[str, int]] = {
    alias: (name, rank) for name, tiers in TIERS.items() for rank, tier in enumerate(tiers) for alias in tier
}
"""Alias -> its field and rank, 0 for the surest."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    name: tuple(alias for tier in tiers for alias in tier) for name, tiers in TIERS.items()
}

TITLES = ("title", "name", "movietitle", "itemname", "itemtitle", "productname", "producttitle", "productdisplayname")
ITEM_TITLES = tuple(title for title in TITLES if title != "name")
"""Title columns in a table of interactions, where `name` would be the user's name."""

REVIEWS = (
    *("review", "reviewid", "reviewtext", "reviewbody", "reviewtitle", "reviewername", "text", "body", "comment"),
    *("summary", "helpful", "helpfulvote", "helpfulvotes", "verified", "verifiedpurchase"),
)
"""Columns of reviews: beside one, a column `title` holds the review's title."""

LONGEST = 64
"""Longest column name, in characters, whose plain form is kept: names come from outside."""

_SEPARATORS = re.compile(r"[^0-9a-z]")

YEARS = ("year", "releaseyear")
WORDS = (
    *("genres", "genre", "class", "categories", "category", "subcategory", "tags", "tag"),
    *("brand", "artist", "author", "authors", "subtitle", "description", "abstract", "text"),
)
"""Columns that describe an item, in the order in which they enter its text."""

ITEM_MOMENTS: Mapping[str, tuple[str, ...]] = {
    "available_from": ("availablefrom",),
    "expires": ("expires", "expiresat", "validuntil"),
}
"""Columns with the moments of an item.

A date of release is not among them: it may be a year alone, or lie before 1970, and an item that came out on a day need
not have been in the catalogue from that day on.
"""


def candidates(names: Mapping[int, str], field: str) -> Iterator[list[int]]:
    """Yield the places of the columns that can be a field, equally sure ones together, the surest first.

    Args:
        names: name of each column that is not used yet, in the form of the aliases.
        field: field of an interaction.
    """
    for tier in TIERS[field]:
        places = [place for place, name in names.items() if name in tier]
        if places:
            yield places


def plain(name: str) -> str:
    """Return a column name in the form of the aliases: `Movie_ID` is `movieid`."""
    return _plain(name) if len(name) <= LONGEST else _SEPARATORS.sub("", name.lower())


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())
