"""Recommendations for batches of requests, under any regions and revisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from consumers.server.listing import Listing, Listings, Recommended, Wanted
from consumers.server.rules import NO_RULES, Rules
from consumers.server.views.items import ServedItems
from consumers.server.views.online import Ranked, ServedOnlineState
from consumers.server.views.regions import ServedRegions, View
from consumers.server.views.users import Users
from pipeline.errors import RequestError
from pipeline.events.windows import PADDING, History, Ids
from pipeline.metrics.ranking import LIST_LENGTH
from pipeline.online.dense_scores import DenseScores
from pipeline.recommend.candidates.query import MODEL
from pipeline.recommend.candidates.scores import RankedScores
from pipeline.recommend.scorer import ScoredBatch, Scorer
from pipeline.streams.interface import Log

Excluded = Literal["nothing", "window", "taken"]

LEADING = 5
"""Features that explain an item."""


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        user_id: user whose current window is scored, or None where a history is given.
        history: item ids, oldest first, in place of the user's own.
        disliked: ascending places in it of those that were disliked.
        k: number of items.
        excluded: kind of items that must not be recommended: `nothing`, `window`, or `taken` (everything that the
            user has taken, as far as it is known); None: `nothing` where settings allow repeats, else `window`.
        exclude: ids of further items that must not be recommended.
        revision: an older revision to recommend under, or None for the one in force.
        explain: name the sources and leading features of each item.
        rules: what the list may hold.
    """

    user_id: str | None = None
    history: tuple[str, ...] | None = None
    disliked: tuple[int, ...] = ()
    k: int = LIST_LENGTH
    excluded: Excluded | None = None
    exclude: tuple[str, ...] = ()
    revision: int | None = None
    explain: bool = False
    rules: Rules = NO_RULES


@dataclass(frozen=True)
class Recommendation:
    """Answer to one request.

    Attributes:
        items: best first.
        answered_by: `adapter`, `backbone`, or `trend` (popularity) for a user without a known history.
        region_id: the most likely region, None without a window.
        adapter: version in force for that region, None where the backbone is.
        route: region_id -> its weight in the scores, set-up regions as one under 0.
        confidence: top posterior, 0 without a window.
        revision: offset of the newest record of `regions` that the answer depends on, -1 for set-up.
        fallback: True where the backbone replaced an adapter that could not be loaded.
        canary: revision that began the trial that the answer is part of, or None.
        bucket: bucket of the user in that trial, or None.
    """

    items: tuple[Recommended, ...]
    answered_by: str
    region_id: int | None
    adapter: str | None
    route: Mapping[int, float] = field(default_factory=dict)
    confidence: float = 0.0
    revision: int = -1
    fallback: bool = False
    canary: int | None = None
    bucket: int | None = None


Answer = Recommendation | RequestError
"""Answer to a request, or the error of one that cannot be answered."""


class Recommender:
    """Recommends items for batches of requests.

    Args:
        live: regions and adapters.
        items: items by row.
        users: histories of users.
        online: origin prior and second stage.
        scorer: scores windows with the adapters of `live`.
        log: source of older revisions.
        repeats: setting `windows.repeats`.
    """

    def __init__(
        self,
        live: ServedRegions,
        items: ServedItems,
        users: Users,
        online: ServedOnlineState,
        scorer: Scorer,
        log: Log,
        repeats: bool,
    ) -> None:
        self._excluded: Excluded = "nothing" if repeats else "window"
        self._live, self._items, self._users, self._online = live, items, users, online
        self._scorer, self._log, self._listings = scorer, log, Listings(items)

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """Answer requests, in their order; requests under the same revision are scored together.

        A request that cannot be answered has its error as its answer.
        """
        with self._live.batch() as now:
            views = [now if ask.revision is None else self._live.as_of(self._log, ask.revision) for ask in asks]
            windows = self._windows(asks)
            begun = self._listings.begin([Wanted(ask.rules, ask.k, self._excluded_by(ask)) for ask in asks])
            answers: dict[int, Answer] = {i: one for i, one in enumerate(begun) if isinstance(one, RequestError)}
            lists = {i: one for i, one in enumerate(begun) if isinstance(one, Listing)}
            for view in {id(view): view for view in views}.values():
                selected = [i for i in lists if views[i] is view]
                known = [i for i in selected if windows.contexts[i, -1] != PADDING]
                answers |= {i: self._unknown(lists[i], view) for i in set(selected) - set(known)}
                answers |= dict(zip(known, self._known(asks, lists, windows, known, view), strict=True))
        return [answers[i] for i in range(len(asks))]

    def _windows(self, asks: Sequence[Ask]) -> "_Asked":
        catalogue, length = self._items.catalogue, self._users.length
        return _Asked(*catalogue.contexts([self._history(ask) for ask in asks], length))

    def _history(self, ask: Ask) -> History:
        if ask.history is None:
            history = History() if ask.user_id is None else self._users.history(ask.user_id)
            return self._items.catalogue.read(history, self._items.existence) if history.disliked else history
        # As if just taken; an unknown item takes no place in the window.
        known = self._given(ask)
        return History.of(known.items, self._users.length, len(known.items), known.disliked)

    def _known(
        self,
        asks: Sequence[Ask],
        lists: Mapping[int, Listing],
        windows: "_Asked",
        selected: Sequence[int],
        view: View,
    ) -> list[Recommendation]:
        if not selected:
            return []
        contexts, since_setup = windows.contexts[selected], windows.since_setup[selected]
        canaries = list(view.canaries.values())
        incumbent = np.array([[not c.reaches(_key_of(asks[i])) for c in canaries] for i in selected], dtype=np.bool_)
        origin_weight = partial(self._online.origin_weight, since_setup=since_setup)
        existence = self._items.existence
        batch = self._scorer.score(view.bank, contexts, since_setup, existence, origin_weight, canaries, incumbent)
        asked = [asks[i] for i in selected]
        items = self._ranked(asked, [lists[i] for i in selected], contexts, since_setup, batch)
        return [self._recommendation(ask, batch, row, view, items[row]) for row, ask in enumerate(asked)]

    def _ranked(
        self, asks: Sequence[Ask], listings: Sequence[Listing], contexts: Ids, since_setup: Ids, batch: ScoredBatch
    ) -> list[tuple[Recommended, ...]]:
        """Items of answers, by the second stage; without one, by the model."""
        known, online = self._items.catalogue.known_rows, self._online
        queries = online.queries(batch, contexts, [known(self._earlier(ask)) for ask in asks], since_setup)
        ranked = online.ranked(queries, [listing.allowed for listing in listings])
        by_model = [query.experts[MODEL] for query in queries]
        if ranked is None:
            return [listing.fill(scores) for listing, scores in zip(listings, by_model, strict=True)]
        first = [self._first(*of) for of in zip(ranked, listings, asks, strict=True)]
        others = map(self._others, listings, by_model, asks)
        return [items + more for items, more in zip(first, others, strict=True)]

    def _others(self, listing: Listing, scores: RankedScores, ask: Ask) -> tuple[Recommended, ...]:
        """Items that no source proposed, where a request asks for more than all candidates.

        They are the best by the model; by popularity, where an index has found too few for the model.
        """
        if not listing.missing:
            return ()
        others = listing.fill(scores)
        if listing.missing:
            others += listing.fill(DenseScores(self._online.overall()))
        return tuple(replace(item, score=0.0, sources=() if ask.explain else None) for item in others)

    def _first(self, ranked: Ranked, listing: Listing, ask: Ask) -> tuple[Recommended, ...]:
        """The k best candidates."""
        rows, scores = ranked.candidates.rows, ranked.scores
        shares = np.exp(scores - scores.max(initial=-np.inf))
        shares /= shares.sum()
        top = listing.choose(rows, scores)
        found = [listing.recommended(int(rows[i]), float(shares[i])) for i in top]
        if not ask.explain:
            return tuple(found)
        parts = self._online.contributions(ranked.candidates)
        sources = [ranked.candidates.sources_of(int(rows[i])) for i in top]
        why = zip(found, sources, (_leading(parts[i]) for i in top), strict=True)
        return tuple(replace(item, sources=of, features=features) for item, of, features in why)

    def _excluded_by(self, ask: Ask) -> Sequence[str]:
        """Ids of items that a request excludes, by kind and by name."""
        return [*self._held(ask), *ask.exclude]

    def _earlier(self, ask: Ask) -> Sequence[str]:
        """Distinct items that left the window."""
        if ask.history is None:
            return self._users.earlier(ask.user_id or "")
        known, length = self._given(ask), self._users.length
        left = [known.items[place] for place in range(len(known.items) - length) if place not in known.disliked]
        return list(dict.fromkeys(reversed(left)))[::-1]

    def _given(self, ask: Ask) -> History:
        """The items of a request with a history that are known, the dislikes of those that exist included."""
        items, catalogue = ask.history or (), self._items.catalogue
        given = History(items, len(items), disliked=ask.disliked)
        known = given.without({place for place, item_id in enumerate(items) if item_id not in catalogue.row_of})
        return catalogue.read(known, self._items.existence) if known.disliked else known

    def _recommendation(
        self, ask: Ask, batch: ScoredBatch, row: int, view: View, items: tuple[Recommended, ...]
    ) -> Recommendation:
        region_id = int(batch.posterior.tops[row])
        # A region with a refused version holds the last good one in the view.
        canary, adapter = view.canaries.get(region_id), view.bank[region_id].adapter
        if canary is not None and not canary.reaches(_key_of(ask)):
            adapter = canary.incumbent
        loaded = adapter if adapter in self._live.adapters else None
        ids = [0, *(region.region_id for region in view.bank.stream)]
        route = {i: float(w) for i, w in zip(ids, batch.route[row], strict=True) if w > 0.0}
        return Recommendation(
            items=items,
            answered_by="adapter" if loaded else "backbone",
            region_id=region_id,
            adapter=loaded,
            route=route,
            confidence=float(batch.posterior.confidence[row]),
            revision=view.revision,
            fallback=bool(batch.fallback[row]),
            canary=None if canary is None else canary.since,
            bucket=None if canary is None else canary.bucket(_key_of(ask)),
        )

    def _unknown(self, listing: Listing, view: View) -> Recommendation:
        items = listing.fill(DenseScores(self._online.overall()))
        return Recommendation(items, "trend", None, None, revision=view.revision)

    def _held(self, ask: Ask) -> Sequence[str]:
        """Items that the request excludes by kind."""
        kind = ask.excluded or self._excluded
        if kind == "nothing":
            return ()
        if kind == "window":
            return self._history(ask).taken
        return self._given(ask).taken if ask.history is not None else self._users.taken(ask.user_id or "")


def _leading(parts: Mapping[str, float]) -> dict[str, float]:
    """The features with the largest parts in a score, either way."""
    return dict(sorted(parts.items(), key=lambda part: -abs(part[1]))[:LEADING])


class _Asked(NamedTuple):
    """Windows of n requests.

    Attributes:
        contexts: (n, length) catalogue rows.
        since_setup: (n,) number of items of each taken since set-up.
    """

    contexts: Ids
    since_setup: Ids


def _key_of(ask: Ask) -> str:
    """Key of the canary bucket: the user, or the history where no user is named."""
    return ask.user_id if ask.user_id is not None else "\n".join(ask.history or ())
