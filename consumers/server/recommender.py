"""Recommendations for batches of requests, under any regions and revisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from consumers.server.views.online import ServedOnlineEnsemble
from consumers.server.views.regions import Live, View
from consumers.server.views.users_items import UsersItems
from pipeline.events.windows import PADDING, History, Ids
from pipeline.metrics.ranking import LIST_LENGTH
from pipeline.recommend.scorer import ScoredBatch, Scorer
from pipeline.streams.interface import Log


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        user_id: user whose current window is scored, or None where a history is given.
        history: item ids, oldest first, in place of the user's own.
        k: number of items.
        exclude: item ids that must not be recommended.
        revision: an older revision to recommend under, or None for the one in force.
    """

    user_id: str | None = None
    history: tuple[str, ...] | None = None
    k: int = LIST_LENGTH
    exclude: tuple[str, ...] = ()
    revision: int | None = None


@dataclass(frozen=True)
class Recommended:
    """One recommended item with its probability and title."""

    item_id: str
    score: float
    title: str


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


class Recommender:
    """Recommends items for batches of requests.

    Args:
        live: regions and adapters.
        knowledge: users and items.
        online: online counts.
        scorer: scores windows with the adapters of `live`.
        log: source of older revisions.
    """

    def __init__(
        self,
        live: Live,
        knowledge: UsersItems,
        online: ServedOnlineEnsemble,
        scorer: Scorer,
        log: Log,
    ) -> None:
        self._live, self._knowledge, self._online = live, knowledge, online
        self._scorer, self._log = scorer, log

    def answer(self, asks: Sequence[Ask]) -> list[Recommendation]:
        """Answer requests, in their order; requests under the same revision are scored together."""
        with self._live.batch() as now:
            views = [now if ask.revision is None else self._live.as_of(self._log, ask.revision) for ask in asks]
            histories = [self._history(ask) for ask in asks]
            answers: dict[int, Recommendation] = {}
            for view in {id(view): view for view in views}.values():
                selected = [i for i, other in enumerate(views) if other is view]
                known = [i for i in selected if histories[i].rows[-1] != PADDING]
                answers |= {i: self._unknown(asks[i], view) for i in set(selected) - set(known)}
                answers |= dict(zip(known, self._known(asks, histories, known, view), strict=True))
        return [answers[i] for i in range(len(asks))]

    def _history(self, ask: Ask) -> History:
        if ask.history is not None:
            return self._knowledge.history_of(list(ask.history))
        history = None if ask.user_id is None else self._knowledge.history(ask.user_id)
        return self._knowledge.history_of([]) if history is None else history

    def _known(
        self, asks: Sequence[Ask], histories: Sequence[History], selected: Sequence[int], view: View
    ) -> list[Recommendation]:
        if not selected:
            return []
        contexts = np.stack([histories[i].rows for i in selected])
        since_setup = np.array([histories[i].since_setup for i in selected], dtype=np.int64)
        canaries = list(view.canaries.values())
        incumbent = np.array([[not c.reaches(_key_of(asks[i])) for c in canaries] for i in selected], dtype=np.bool_)
        origin_weight = partial(self._online.origin_weight, since_setup=since_setup)
        batch = self._scorer.score(view.bank, contexts, since_setup, origin_weight, canaries, incumbent)
        self._online.mix(contexts, since_setup, batch)
        return [self._recommendation(asks[i], contexts[row], batch, row, view) for row, i in enumerate(selected)]

    def _recommendation(self, ask: Ask, window: Ids, batch: ScoredBatch, row: int, view: View) -> Recommendation:
        region_id = int(batch.posterior.tops[row])
        # A region with a refused version holds the last good one in the view.
        canary, adapter = view.canaries.get(region_id), view.bank[region_id].adapter
        if canary is not None and not canary.reaches(_key_of(ask)):
            adapter = canary.incumbent
        loaded = adapter if adapter in self._live.adapters else None
        ids = [0, *(region.region_id for region in view.bank.opened)]
        route = {i: float(w) for i, w in zip(ids, batch.route[row], strict=True) if w > 0.0}
        return Recommendation(
            items=self._best(batch.probabilities[row], ask, window),
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

    def _unknown(self, ask: Ask, view: View) -> Recommendation:
        no_items = self._knowledge.history_of([]).rows
        return Recommendation(
            self._best(self._online.overall(), ask, no_items), "trend", None, None, revision=view.revision
        )

    def _best(
        self, probabilities: NDArray[np.float32] | NDArray[np.float64], ask: Ask, window: Ids
    ) -> tuple[Recommended, ...]:
        """The k best items that are neither withdrawn nor excluded nor in the window."""
        scores = np.where(self._knowledge.withdrawn, -1.0, probabilities)
        scores[window] = -1.0
        scores[self._knowledge.rows(list(ask.exclude))] = -1.0
        k = min(ask.k, len(scores) - 1)
        # Ties by row, so that equal requests get equal answers.
        candidates = np.sort(np.argpartition(-scores, k)[: k + 1])
        top = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
        return tuple(
            Recommended(self._knowledge.item_id(row), float(scores[row]), self._knowledge.title(row))
            for row in top.tolist()
            if scores[row] >= 0.0
        )


def _key_of(ask: Ask) -> str:
    """Key of the canary bucket: the user, or the history where no user is named."""
    return ask.user_id if ask.user_id is not None else "\n".join(ask.history or ())
