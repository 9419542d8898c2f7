"""From requests to recommendations: a batch of them, whatever their regions and revisions, in one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from consumers.server.views.online import ServedTrend
from consumers.server.views.regions import Live, View
from consumers.server.views.users_items import Knowledge
from pipeline.events.windows import PADDING, History, Ids
from pipeline.recommend.scorer import ScoredBatch, Scorer
from pipeline.streams.interface import Log


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        user_id: whose current window is asked about, or None where a history is given.
        history: item ids, oldest first, in place of the user's own.
        k: how many items.
        exclude: item ids that must not be answered.
        revision: as of which revision, or None for the one in force.
    """

    user_id: str | None = None
    history: tuple[str, ...] | None = None
    k: int = 10
    exclude: tuple[str, ...] = ()
    revision: int | None = None


@dataclass(frozen=True)
class Recommended:
    """One item of an answer: its probability, and what is known of it in words."""

    item_id: str
    score: float
    title: str


@dataclass(frozen=True)
class Recommendation:
    """What one request is answered.

    Attributes:
        items: best first.
        answered_by: `adapter`, `backbone`, or `trend` for a user who is not known.
        region_id: the likeliest region, None without a window.
        adapter: version that answers for that region, None where the backbone does.
        route: region_id -> its weight in the answer, set-up regions as one under 0.
        confidence: top posterior, 0 without a window.
        revision: offset of the newest record of `regions` in the answer, -1 for set-up.
        stood_in: whether the backbone stood in for an adapter that could not be loaded.
        canary: revision that began the trial that the answer is part of, or None.
        crowd: of the user in that trial, or None.
    """

    items: tuple[Recommended, ...]
    answered_by: str
    region_id: int | None
    adapter: str | None
    route: Mapping[int, float] = field(default_factory=dict)
    confidence: float = 0.0
    revision: int = -1
    stood_in: bool = False
    canary: int | None = None
    crowd: int | None = None


class Recommender:
    """Answers batches of requests.

    Args:
        live: regions and adapters.
        knowledge: users and items.
        trend: what is taken of late.
        scorer: scores windows with the adapters of `live`.
        log: for older revisions.
    """

    def __init__(
        self,
        live: Live,
        knowledge: Knowledge,
        trend: ServedTrend,
        scorer: Scorer,
        log: Log,
    ) -> None:
        self._live, self._knowledge, self._trend = live, knowledge, trend
        self._scorer, self._log = scorer, log

    def answer(self, asks: Sequence[Ask]) -> list[Recommendation]:
        """Answer requests, in order; one forward pass serves all that are answered under the same revision."""
        with self._live.batch() as now:
            views = [now if ask.revision is None else self._live.as_of(self._log, ask.revision) for ask in asks]
            histories = [self._history(ask) for ask in asks]
            answers: dict[int, Recommendation] = {}
            for view in {id(view): view for view in views}.values():
                mine = [i for i, other in enumerate(views) if other is view]
                known = [i for i in mine if histories[i].rows[-1] != PADDING]
                answers |= {i: self._unknown(asks[i], view) for i in set(mine) - set(known)}
                answers |= dict(zip(known, self._known(asks, histories, known, view), strict=True))
        return [answers[i] for i in range(len(asks))]

    def _history(self, ask: Ask) -> History:
        if ask.history is not None:
            return self._knowledge.history_of(list(ask.history))
        history = None if ask.user_id is None else self._knowledge.history(ask.user_id)
        return self._knowledge.history_of([]) if history is None else history

    def _known(
        self, asks: Sequence[Ask], histories: Sequence[History], chosen: Sequence[int], view: View
    ) -> list[Recommendation]:
        if not chosen:
            return []
        contexts = np.stack([histories[i].rows for i in chosen])
        since_setup = np.array([histories[i].since_setup for i in chosen], dtype=np.int64)
        canaries = list(view.canaries.values())
        incumbent = np.array([[not c.reaches(_who(asks[i])) for c in canaries] for i in chosen], dtype=np.bool_)
        origin_weight = partial(self._trend.origin_weight, since_setup=since_setup)
        batch = self._scorer.score(view.bank, contexts, since_setup, origin_weight, canaries, incumbent)
        self._trend.mix(contexts, since_setup, batch)
        return [self._recommendation(asks[i], contexts[at], batch, at, view) for at, i in enumerate(chosen)]

    def _recommendation(self, ask: Ask, window: Ids, batch: ScoredBatch, at: int, view: View) -> Recommendation:
        region_id = int(batch.posterior.tops[at])
        # Looked up by hand: a region that fell back carries the adapter that answers for it.
        canary, adapter = view.canaries.get(region_id), view.bank[region_id].adapter
        if canary is not None and not canary.reaches(_who(ask)):
            adapter = canary.incumbent
        there = adapter if adapter in self._live.adapters else None
        ids = [0, *(region.region_id for region in view.bank.opened)]
        route = {i: float(w) for i, w in zip(ids, batch.route[at], strict=True) if w > 0.0}
        return Recommendation(
            items=self._best(batch.probabilities[at], ask, window),
            answered_by="adapter" if there else "backbone",
            region_id=region_id,
            adapter=there,
            route=route,
            confidence=float(batch.posterior.confidence[at]),
            revision=view.revision,
            stood_in=bool(batch.fallback[at]),
            canary=None if canary is None else canary.since,
            crowd=None if canary is None else canary.crowd(_who(ask)),
        )

    def _unknown(self, ask: Ask, view: View) -> Recommendation:
        nothing = self._knowledge.history_of([]).rows
        return Recommendation(
            self._best(self._trend.overall(), ask, nothing), "trend", None, None, revision=view.revision
        )

    def _best(
        self, probabilities: NDArray[np.float32] | NDArray[np.float64], ask: Ask, window: Ids
    ) -> tuple[Recommended, ...]:
        """The k best items that are neither withdrawn nor excluded nor in the window."""
        scores = np.where(self._knowledge.withdrawn, -1.0, probabilities)
        scores[window] = -1.0
        scores[self._knowledge.rows(list(ask.exclude))] = -1.0
        k = min(ask.k, len(scores) - 1)
        # Ties by row: the same request twice has the same answer.
        among = np.sort(np.argpartition(-scores, k)[: k + 1])
        top = among[np.argsort(-scores[among], kind="stable")][:k]
        return tuple(
            Recommended(self._knowledge.item_id(row), float(scores[row]), self._knowledge.title(row))
            for row in top.tolist()
            if scores[row] >= 0.0
        )


def _who(ask: Ask) -> str:
    """What tells those who ask apart: the user, or the history where no user is named."""
    return ask.user_id if ask.user_id is not None else "\n".join(ask.history or ())
