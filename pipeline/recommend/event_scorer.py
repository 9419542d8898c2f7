"""Scoring of events: each target is scored before anything is learned from its event."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.gated import GatedEvent, OnlineFeatures
from pipeline.events.windows import History, Ids, Windows
from pipeline.metrics.ranking import NOT_SCORED
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.online.ensemble import OnlineEnsemble, WindowFeatures
from pipeline.recommend.backends import HostBackend
from pipeline.recommend.scorer import ScoredBatch, Scorer
from pipeline.regions.bank import RegionBank
from pipeline.regions.features import negative_log_popularity
from pipeline.regions.live import LiveRegions
from pipeline.setup.artifacts import SetUp


class EventScorer:
    """Scores events under the newest revision, and learns from them in their order.

    Attributes:
        live: the regions and adapters in force.
        catalogue: the items, in the rows of all windows.
        online: the online ensemble, or None where the configuration has no half-lives.
        origin_prior: the origin prior; it works without an online ensemble too.
    """

    def __init__(self, setup: SetUp, config: Config, live: LiveRegions, catalogue: OpenCatalogue) -> None:
        self.live = live
        self.catalogue = catalogue
        self._setup = setup
        self._config = config
        self._scorer = Scorer(HostBackend(live.host), setup.view, config.gate.floor)
        self.online = (
            OnlineEnsemble(setup.counts, setup.item_transitions(config.trend.shrinkage), len(setup.bank.setup), config)
            if config.trend.half_lives
            else None
        )
        self.origin_prior = self.online.origin_prior if self.online else None
        self._held_out_under: RegionBank | None = None

    def follow(self, freed: Sequence[int] = ()) -> None:
        """Take over changes of the catalogue, before windows with its new rows are scored.

        Args:
            freed: rows of items that were evicted.
        """
        if self.online is not None:
            self.online.forget(freed)
            self.online.resize(self.catalogue.rows)
        self.live.follow(self.catalogue, freed)

    def score(self, windows: Windows, existence: Existence) -> ScoredBatch:
        """Score windows with origin prior and online ensemble as they stand; targets are not used."""
        batch = self.score_content(windows.contexts, windows.since_setup, existence)
        if self.origin_prior is not None:
            features = batch.origin_features(self._setup.bank, windows.since_setup)
            batch = batch.reweighted(self.origin_prior.origin_weight(features))
        if self.online is None:
            return batch
        self._hold_out(self.online)
        inputs = self._window_features(windows.contexts, windows.since_setup, batch)
        return replace(batch, probabilities=self.online.mix(inputs, batch.probabilities))

    def handle(self, windows: Windows, existence: Existence, histories: Sequence[History]) -> list[GatedEvent]:
        """Score the targets of windows; each event is learned before the next one is scored.

        Args:
            windows: in rows of the catalogue.
            existence: of its items for each window.
            histories: the items of each window by id, those without a row included, for the records.
        """
        own, scored = (np.arange(len(windows)), windows.targets), existence.includes(windows.targets)
        batch = self.score_content(windows.contexts, windows.since_setup, existence)
        assert batch.backbone is not None
        backbone, opened = batch.backbone[own], batch.posterior.stream
        if self.origin_prior is not None:
            features, model = batch.origin_features(self._setup.bank, windows.since_setup), batch.probabilities[own]
            opened, weight = self.origin_prior.score_and_learn(features, model, backbone, scored)
            batch = batch.reweighted(weight)
        model_ranks = ranks_of_existing(batch.probabilities.copy(), windows.targets, windows.contexts, existence)
        columns = {
            **self._columns(windows, histories, batch, scored),
            "opened": opened.tolist(),
            "backbone_probability": _where(scored, backbone),
            "model_rank": model_ranks.tolist(),
            "rank": model_ranks.tolist(),
            "popularity_rank": [NOT_SCORED] * len(windows),
        }
        if self.online is not None:
            columns |= self._mix_and_learn(self.online, windows, batch, existence)
        rows = zip(*columns.values(), strict=True)
        return [
            GatedEvent(**dict(zip(columns, row, strict=True)), gate_version=self.live.bank.gate_version) for row in rows
        ]

    def score_content(self, contexts: Ids, since_setup: NDArray[np.int64], existence: Existence) -> ScoredBatch:
        """Score windows with the model alone: neither origin prior nor online ensemble.

        Args:
            contexts: (n, length) catalogue rows, left-padded.
            since_setup: (n,) number of items of each window taken since set-up.
            existence: of items for each window.
        """
        return self._scorer.score(self.live.bank, contexts, since_setup, existence)

    def _columns(
        self, windows: Windows, histories: Sequence[History], batch: ScoredBatch, scored: NDArray[np.bool_]
    ) -> dict[str, list[Any]]:
        """Fields of `GatedEvent` that follow from windows and scores alone, a list of n values each."""
        posterior, bank, ids = batch.posterior, self.live.bank, self.catalogue.ids
        return {
            "event_id": windows.event_ids.tolist(),
            "user_id": windows.users.tolist(),
            "timestamp": windows.timestamps.tolist(),
            "target": [ids[row] for row in windows.targets.tolist()],
            "window": [list(history.items) for history in histories],
            "since_setup": [history.since_setup for history in histories],
            "cold": windows.cold.tolist(),
            "region_id": posterior.tops.tolist(),
            "setup_region": posterior.setup_tops.tolist(),
            "setup_rival": posterior.setup_rivals.tolist(),
            "setup_margin": posterior.setup_margins.tolist(),
            "route": [
                [r.region_id for r, w in zip(bank.stream, row, strict=True) if w >= self._config.gate.floor]
                for row in batch.route[:, 1:]
            ],
            "confidence": posterior.confidence.tolist(),
            "margin": posterior.margin.tolist(),
            "angle": posterior.angles.tolist(),
            "loss": _where(scored, self._losses(windows, batch)),
            "rarity": negative_log_popularity(windows.targets, self._setup.counts).tolist(),
        }

    def _losses(self, windows: Windows, batch: ScoredBatch) -> Array:
        """(n,) negative log probability of each target among the items of set-up and itself."""
        own = batch.probabilities[np.arange(len(windows)), windows.targets]
        known = batch.probabilities[:, : len(self._setup.catalogue) + 1].sum(axis=1)
        among = known + np.where(windows.targets <= len(self._setup.catalogue), 0.0, own)
        losses: Array = -np.log(np.maximum(own / np.maximum(among, 1e-12), 1e-12))
        return losses

    def learn_again(self, events: Iterable[GatedEvent]) -> None:
        """Bring the online ensemble up to date with events that were scored under the revision in force."""
        if self.online is not None:
            self._hold_out(self.online)
            for event in events:
                history = History(tuple(event.window), event.since_setup)
                contexts, since_setup = self.catalogue.contexts([history], self._config.windows.length)
                self.online.learn_again(event, contexts, since_setup, self.catalogue.row_of[event.target])

    def _window_features(self, contexts: Ids, since_setup: NDArray[np.int64], batch: ScoredBatch) -> WindowFeatures:
        return batch.window_features(self._setup.bank, contexts, since_setup)

    def _mix_and_learn(
        self, online: OnlineEnsemble, windows: Windows, batch: ScoredBatch, existence: Existence
    ) -> dict[str, list[Any]]:
        """Fields of `GatedEvent` that follow from the ensemble, which learns from each window in turn."""
        self._hold_out(online)
        features = self._window_features(windows.contexts, windows.since_setup, batch)
        shares, scored = online.counted_shares(features), existence.includes(windows.targets)
        mixed, learned = np.full(batch.probabilities.shape, -np.inf), []
        popular, candidates = [NOT_SCORED] * len(windows), existence.candidates(windows.targets, windows.contexts)
        for i, target in enumerate(windows.targets.tolist()):
            surest = float(features.max_probability[i])
            if not scored[i]:
                online.add(features.setup_shares[i], windows.contexts[i], target)
                learned.append(OnlineFeatures(None, surest, shares[i], []))
                continue
            this, probabilities = features[i : i + 1], batch.probabilities[i : i + 1]
            excluded = existence.excluded(i, windows.contexts[i])
            if candidates[i]:
                popular[i] = online.popularity_rank(target, excluded)
            mixed[i : i + 1], hits = online.score_grid(this, probabilities, target, excluded)
            probability = float(probabilities[0, target])
            online.learn(features, i, target, probability, hits)
            learned.append(OnlineFeatures(probability, surest, shares[i], hits))
        ranks = ranks_of_existing(mixed, windows.targets, windows.contexts, existence).tolist()
        return {"rank": ranks, "online": learned, "popularity_rank": popular}

    def _hold_out(self, online: OnlineEnsemble) -> None:
        """Give the ensemble the scores of held-out set-up windows under the revision in force, once a revision.

        They are scored over the items of set-up alone: arrivals between two revisions change nothing.
        """
        if self._held_out_under is self.live.bank:
            return
        contexts, targets = self._setup.calibration.sample(self._config.trend.held_out)
        none, of_setup = np.zeros(len(targets), dtype=np.int64), Existence.of_all(len(self._setup.catalogue))
        batch = self.score_content(contexts, none, of_setup)
        probabilities = batch.probabilities[np.arange(len(targets)), targets]
        online.hold_out(self._window_features(contexts, none, batch), targets, probabilities.astype(np.float64))
        self._held_out_under = self.live.bank


def _where(scored: NDArray[np.bool_], values: NDArray[np.floating[Any]]) -> list[float | None]:
    """List of (n,) values, None for targets that did not exist."""
    return [value if known else None for value, known in zip(values.tolist(), scored.tolist(), strict=True)]
