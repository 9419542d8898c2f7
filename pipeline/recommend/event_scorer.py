"""Scoring of events: each target is scored before anything is learned from its event."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.events.existence import Existence
from pipeline.events.gated import GatedEvent, OnlineFeatures
from pipeline.events.windows import PADDING, History, Ids, Windows
from pipeline.metrics.ranking import NOT_SCORED
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text_vectors import TextVectors
from pipeline.online.decayed_popularity import LEAST_SHARE
from pipeline.recommend.backends import HostBackend
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.events import Event, Retained, events_of
from pipeline.recommend.held_out import HeldOut
from pipeline.recommend.online_state import OnlineState
from pipeline.recommend.retrieval import with_index
from pipeline.recommend.scorer import ScoredBatch, Scorer
from pipeline.recommend.second_stage import SecondStage
from pipeline.recommend.start import start
from pipeline.regions.features import negative_log_popularity
from pipeline.regions.live import LiveRegions
from pipeline.retrieval.adapted_items import HostItems
from pipeline.setup.artifacts import SetUp

Earlier = NDArray[np.int32]
"""(n, e) distinct items that left n windows; see `Windows.earlier`."""

Beginning = Mapping[str, NDArray[Any]]
"""State at the start of a stream, see `OnlineState.to_arrays`."""


class EventScorer:
    """Scores events under the newest revision, and learns from them in their order.

    Args:
        setup: the state before any event.
        config: the whole tree.
        live: the regions and adapters in force.
        catalogue: the items, in the rows of all windows.
        beginning: what `beginning` of another scorer of this set-up returned; None: it is computed where it is needed.

    Attributes:
        live, catalogue: as given.
        online: origin prior and second stage, or None where the configuration has no half-lives.
        origin_prior: the origin prior; it works without `online` too.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        live: LiveRegions,
        catalogue: OpenCatalogue,
        beginning: Beginning | None = None,
    ) -> None:
        self.live = live
        self.catalogue = catalogue
        self._setup = setup
        self._config = config
        host = live.host
        backend = with_index(HostBackend(host), HostItems(host), catalogue.ids, setup, config)
        self._scorer = Scorer(backend, setup.view, config.gate.floor)
        self._beginning = beginning
        self.online: OnlineState | None = None
        if config.trend.half_lives:
            self.online = OnlineState(setup, config, self._texts, catalogue.ids, backend.texts_like)
        self.origin_prior = self.online.origin_prior if self.online else None
        self._held_out = HeldOut(setup, config, self._ask)

    def beginning(self) -> Beginning | None:
        """Return origin prior and second stage as they start from set-up, None without them.

        To count set-up takes seconds: a process that starts again and again does it once, before it joins its group.
        """
        return None if self._started() is None or self.online is None else self.online.to_arrays()

    def follow(self, freed: Sequence[int] = ()) -> None:
        """Take over changes of the catalogue, before windows with its new rows are scored.

        Args:
            freed: rows of items that were evicted.
        """
        stage = self._started()
        if stage is not None:
            stage.forget(freed)
            stage.resize(self.catalogue.rows)
        self.live.follow(self.catalogue, freed)

    def score(self, windows: Windows, existence: Existence) -> ScoredBatch:
        """Score windows by the model, with the origin prior as it stands; targets are not used."""
        batch = self.score_content(windows.contexts, windows.since_setup, existence)
        if self.origin_prior is None:
            return batch
        features = batch.origin_features(self._setup.bank, windows.since_setup)
        return batch.reweighted(self.origin_prior.origin_weight(features))

    def ranks(self, windows: Windows, batch: ScoredBatch, existence: Existence) -> Ids:
        """(n,) ranks of the targets by the second stage as it stands; without one, by the model.

        Args:
            windows: in rows of the catalogue.
            batch: as `score` returned it for them.
            existence: of items for each window.
        """
        stage = self._started()
        if stage is None or self.origin_prior is None:
            return batch.scores.ranks(windows.targets, windows.contexts, existence)
        opened = self.origin_prior.opened(batch.origin_features(self._setup.bank, windows.since_setup))
        events = self._events(windows, batch, opened, existence)
        ranks = [NOT_SCORED if e.allowed is None else stage.rank(e.query, e.allowed, e.target) for e in events]
        return np.array(ranks, dtype=np.int64)

    def handle(self, windows: Windows, existence: Existence, histories: Sequence[History]) -> list[GatedEvent]:
        """Score the targets of windows; each event is counted before the next one is scored.

        Args:
            windows: in rows of the catalogue.
            existence: of its items for each window.
            histories: the items of each window by id, those without a row included, for the records.
        """
        scored = existence.includes(windows.targets)
        stage = self._started()
        batch = self.score_content(windows.contexts, windows.since_setup, existence)
        (model, backbone), opened = batch.scores.of(windows.targets), batch.posterior.stream
        if self.origin_prior is not None:
            features = batch.origin_features(self._setup.bank, windows.since_setup)
            opened, weight = self.origin_prior.score_and_learn(features, model, backbone, scored)
            batch = batch.reweighted(weight)
        model_ranks = batch.scores.ranks(windows.targets, windows.contexts, existence)
        probabilities = batch.scores.of(windows.targets)[0]
        columns = {
            **self._columns(windows, histories, batch, probabilities, scored),
            "opened": opened.tolist(),
            "backbone_probability": _where(scored, backbone),
            "model_rank": model_ranks.tolist(),
            "rank": model_ranks.tolist(),
            "popularity_rank": [NOT_SCORED] * len(windows),
        }
        if stage is not None:
            chances = _where(scored, probabilities)
            columns |= self._rank_and_learn(stage, windows, batch, chances, opened, existence)
        rows = zip(*columns.values(), strict=True)
        return [
            GatedEvent(**dict(zip(columns, row, strict=True)), gate_version=self.live.bank.gate_version) for row in rows
        ]

    def score_content(self, contexts: Ids, since_setup: NDArray[np.int64], existence: Existence) -> ScoredBatch:
        """Score windows with the model alone: neither origin prior nor second stage.

        Args:
            contexts: (n, length) catalogue rows, left-padded.
            since_setup: (n,) number of items of each window taken since set-up.
            existence: of items for each window.
        """
        return self._scorer.score(self.live.bank, contexts, since_setup, existence)

    def learn_again(self, events: Sequence[GatedEvent], existence: Existence) -> None:
        """Learn from events that `handle` scored together under the revision in force.

        Args:
            events: as it returned them.
            existence: as it was given.
        """
        online = self.online
        if online is None:
            return
        queries = [online.query_of(event, self.catalogue) for event in events]
        asked = [Event(q, self.catalogue.row_of[e.target], None) for q, e in zip(queries, events, strict=True)]
        written = [None if event.online is None else event.online.candidates for event in events]
        online.second_stage.learn_again(asked, written, self._retained(existence, len(events)))
        for event, query in zip(events, queries, strict=True):
            online.learn_origin(event, query)

    def _rank_and_learn(
        self,
        stage: SecondStage,
        windows: Windows,
        batch: ScoredBatch,
        probabilities: list[float | None],
        opened: Array,
        existence: Existence,
    ) -> dict[str, list[Any]]:
        """Fields of `GatedEvent` that follow from the second stage, which learns from each batch in turn."""
        events = self._events(windows, batch, opened, existence)
        popular = stage.popularity_ranks(events)
        ranks, candidates = stage.rank_and_learn(events, self._retained(existence, len(windows)))
        learned = [
            OnlineFeatures(probability, _counted(event.query.setup_shares), found)
            for probability, event, found in zip(probabilities, events, candidates, strict=True)
        ]
        return {"rank": ranks, "online": learned, "popularity_rank": popular}

    def _columns(
        self,
        windows: Windows,
        histories: Sequence[History],
        batch: ScoredBatch,
        probabilities: Array,
        scored: NDArray[np.bool_],
    ) -> dict[str, list[Any]]:
        """Fields of `GatedEvent` that follow from windows and scores alone, a list of n values each."""
        posterior, ids = batch.posterior, self.catalogue.ids
        ids_of_stream = np.array([region.region_id for region in self.live.bank.stream], dtype=np.int64)
        return {
            "event_id": windows.event_ids.tolist(),
            "user_id": windows.users.tolist(),
            "timestamp": windows.timestamps.tolist(),
            "target": [ids[row] for row in windows.targets.tolist()],
            "window": [list(history.items) for history in histories],
            "disliked": [list(history.disliked) for history in histories],
            "earlier": [[ids[row] for row in rows if row != PADDING] for rows in self._looked_up(windows)],
            "since_setup": [history.since_setup for history in histories],
            "cold": windows.cold.tolist(),
            "region_id": posterior.tops.tolist(),
            "setup_region": posterior.setup_tops.tolist(),
            "setup_rival": posterior.setup_rivals.tolist(),
            "setup_margin": posterior.setup_margins.tolist(),
            "route": [ids_of_stream[row].tolist() for row in batch.route[:, 1:] >= self._config.gate.floor],
            "confidence": posterior.confidence.tolist(),
            "margin": posterior.margin.tolist(),
            "angle": posterior.angles.tolist(),
            "loss": _where(scored, self._losses(windows, batch, probabilities)),
            "rarity": negative_log_popularity(windows.targets, self._setup.counts).tolist(),
        }

    def _losses(self, windows: Windows, batch: ScoredBatch, own: Array) -> Array:
        """(n,) negative log probability of each target, of (n,) probabilities, among the items of set-up and itself."""
        known = batch.scores.of_setup(len(self._setup.catalogue))
        among = known + np.where(windows.targets <= len(self._setup.catalogue), 0.0, own)
        losses: Array = -np.log(np.maximum(own / np.maximum(among, 1e-12), 1e-12))
        return losses

    def _looked_up(self, windows: Windows) -> list[list[int]]:
        """For each window, the newest of its earlier items: those whose neighbours are counted."""
        looked_up: list[list[int]] = windows.earlier[:, -self._config.ranking.history :].tolist()
        return looked_up

    def _events(self, windows: Windows, batch: ScoredBatch, opened: Array, existence: Existence) -> list[Event]:
        """Windows with the scores of the model, for the second stage."""
        queries = self._queries(batch, windows.contexts, windows.earlier, windows.since_setup, opened)
        return events_of(queries, windows.targets, existence)

    def _queries(
        self, batch: ScoredBatch, contexts: Ids, earlier: Earlier, since_setup: NDArray[np.int64], opened: Array
    ) -> list[Query]:
        return batch.queries(self._setup.bank, contexts, earlier, since_setup, opened)

    def _ask(self, contexts: Ids, earlier: Earlier, since_setup: Ids, existence: Existence) -> list[Query]:
        """See `Ask`: without the origin prior, as set-up windows have nothing from since then."""
        batch = self.score_content(contexts, since_setup, existence)
        return self._queries(batch, contexts, earlier, since_setup, batch.posterior.stream)

    def _retained(self, existence: Existence, windows: int) -> Retained:
        return partial(self._held_out.beside, existence=existence.at(windows - 1))

    def _started(self) -> SecondStage | None:
        """The second stage, once it has begun."""
        if self.online is None:
            return None
        if not self.online.second_stage.started:
            self._begin(self.online)
        return self.online.second_stage

    def _begin(self, online: OnlineState) -> None:
        if self._beginning is None:
            start(online.second_stage, self._setup, self._ask, np.zeros(online.regions))
        else:
            online.restore(self._beginning, np.arange(len(self._setup.catalogue) + 1))

    def _texts(self) -> TextVectors:
        """Text embeddings in force of all rows."""
        texts: TextVectors = self.live.host.backbone.items.readable_texts()
        return texts.first(self.catalogue.rows + 1)


def _counted(setup_shares: Array) -> list[tuple[int, float]]:
    """Position and share of each set-up region that a window counts in; those below the least share are left out."""
    counted = np.where(setup_shares >= LEAST_SHARE, setup_shares, 0.0)
    counted = counted if counted.any() else setup_shares
    return [(int(i), float(counted[i])) for i in np.flatnonzero(counted)]


def _where(scored: NDArray[np.bool_], values: NDArray[np.floating[Any]]) -> list[float | None]:
    """List of (n,) values, None for targets that did not exist."""
    return [value if known else None for value, known in zip(values.tolist(), scored.tolist(), strict=True)]
