"""Scoring of events: each target is scored before anything is learned from its event."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.events.gated import GatedEvent, OnlineFeatures
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
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
        online: the online ensemble, or None where the configuration has no half-lives.
        origin_prior: the origin prior; it works without an online ensemble too.
        withdrawn: (m,) catalogue rows that are not recommended: no target is ranked among them.
    """

    def __init__(self, setup: SetUp, config: Config, live: LiveRegions) -> None:
        self.live = live
        self._setup = setup
        self._config = config
        self._scorer = Scorer(HostBackend(live.host), setup.view, config.gate.floor)
        self.online = (
            OnlineEnsemble(setup.counts, setup.item_transitions(config.trend.shrinkage), len(setup.bank.setup), config)
            if config.trend.half_lives
            else None
        )
        self.origin_prior = self.online.origin_prior if self.online else None
        self.withdrawn = np.zeros(0, dtype=np.int64)
        self._held_out_under: RegionBank | None = None

    def score(self, windows: Windows) -> ScoredBatch:
        """Score windows with origin prior and online ensemble as they stand; targets are not used."""
        batch = self.score_content(windows.contexts, windows.since_setup)
        if self.origin_prior is not None:
            features = batch.origin_features(self._setup.bank, windows.since_setup)
            batch = batch.reweighted(self.origin_prior.origin_weight(features))
        if self.online is None:
            return batch
        self._hold_out(self.online)
        inputs = self._window_features(windows.contexts, windows.since_setup, batch)
        return replace(batch, probabilities=self.online.mix(inputs, batch.probabilities))

    def handle(self, windows: Windows) -> list[GatedEvent]:
        """Score the targets of windows; each event is learned before the next one is scored."""
        own = np.arange(len(windows)), windows.targets
        batch = self.score_content(windows.contexts, windows.since_setup)
        assert batch.backbone is not None
        backbone, opened = batch.backbone[own], batch.posterior.stream
        if self.origin_prior is not None:
            features = batch.origin_features(self._setup.bank, windows.since_setup)
            opened, origin_weight = self.origin_prior.score_and_learn(features, batch.probabilities[own], backbone)
            batch = batch.reweighted(origin_weight)
        model_ranks = self._ranks(batch.probabilities, windows)
        columns = {
            **self._columns(windows, batch),
            "opened": opened.tolist(),
            "backbone_probability": backbone.tolist(),
            "model_rank": model_ranks.tolist(),
            "rank": model_ranks.tolist(),
        }
        if self.online is not None:
            columns["rank"], columns["online"] = self._mix_and_learn(self.online, windows, batch)
        rows = zip(*columns.values(), strict=True)
        return [
            GatedEvent(**dict(zip(columns, row, strict=True)), gate_version=self.live.bank.gate_version) for row in rows
        ]

    def score_content(self, contexts: Ids, since_setup: NDArray[np.int64]) -> ScoredBatch:
        """Score windows with the model alone: neither origin prior nor online ensemble.

        Args:
            contexts: (n, length) catalogue rows, left-padded.
            since_setup: (n,) number of items of each window taken since set-up.
        """
        return self._scorer.score(self.live.bank, contexts, since_setup)

    def _columns(self, windows: Windows, batch: ScoredBatch) -> dict[str, list[Any]]:
        """Fields of `GatedEvent` that follow from windows and scores alone, a list of n values each."""
        posterior, bank = batch.posterior, self.live.bank
        probabilities = batch.probabilities[np.arange(len(windows)), windows.targets]
        return {
            "event_id": windows.event_ids.tolist(),
            "user_id": windows.users.tolist(),
            "timestamp": windows.timestamps.tolist(),
            "target": windows.targets.tolist(),
            "window": windows.contexts.tolist(),
            "since_setup": windows.since_setup.tolist(),
            "cold": windows.cold.tolist(),
            "region_id": posterior.tops.tolist(),
            "setup_region": posterior.setup_tops.tolist(),
            "setup_rival": posterior.setup_rivals.tolist(),
            "setup_margin": posterior.setup_margins.tolist(),
            "route": [
                [r.region_id for r, w in zip(bank.opened, row, strict=True) if w >= self._config.gate.floor]
                for row in batch.route[:, 1:]
            ],
            "confidence": posterior.confidence.tolist(),
            "margin": posterior.margin.tolist(),
            "angle": posterior.angles.tolist(),
            "loss": (-np.log(np.maximum(probabilities, 1e-12))).tolist(),
            "rarity": negative_log_popularity(windows.targets, self._setup.counts).tolist(),
        }

    def learn_again(self, events: Iterable[GatedEvent]) -> None:
        """Bring the online ensemble up to date with events that were scored under the revision in force."""
        if self.online is not None:
            self._hold_out(self.online)
            for event in events:
                self.online.learn_again(event)

    def _window_features(self, contexts: Ids, since_setup: NDArray[np.int64], batch: ScoredBatch) -> WindowFeatures:
        return batch.window_features(self._setup.bank, contexts, since_setup)

    def _mix_and_learn(
        self, online: OnlineEnsemble, windows: Windows, batch: ScoredBatch
    ) -> tuple[list[int], list[OnlineFeatures]]:
        """Rank of each target in the mixed probabilities, and what the ensemble learned from each window in turn."""
        self._hold_out(online)
        features = self._window_features(windows.contexts, windows.since_setup, batch)
        shares = online.counted_shares(features)
        mixed, learned = np.empty(batch.probabilities.shape), []
        for i, target in enumerate(windows.targets.tolist()):
            this, probabilities = features[i : i + 1], batch.probabilities[i : i + 1]
            excluded = np.append(windows.contexts[i], self.withdrawn)
            mixed[i : i + 1], hits = online.score_grid(this, probabilities, target, excluded)
            probability = float(probabilities[0, target])
            online.learn(features, i, target, probability, hits)
            learned.append(OnlineFeatures(probability, float(features.max_probability[i]), shares[i], hits))
        ranks: list[int] = self._ranks(mixed, windows).tolist()
        return ranks, learned

    def _ranks(self, probabilities: NDArray[np.floating[Any]], windows: Windows) -> Ids:
        """Rank of each target among the items that may be recommended, itself always one of them."""
        if len(self.withdrawn):
            own = np.arange(len(windows)), windows.targets
            kept, probabilities = probabilities[own], probabilities.copy()
            probabilities[:, self.withdrawn] = -1.0
            probabilities[own] = kept
        return rank_of_targets(probabilities, windows.targets, windows.contexts)

    def _hold_out(self, online: OnlineEnsemble) -> None:
        """Give the ensemble the scores of held-out set-up windows under the revision in force, once a revision."""
        if self._held_out_under is self.live.bank:
            return
        contexts, targets = self._setup.calibration.sample(self._config.trend.held_out)
        none = np.zeros(len(targets), dtype=np.int64)
        batch = self.score_content(contexts, none)
        probabilities = batch.probabilities[np.arange(len(targets)), targets]
        online.hold_out(self._window_features(contexts, none, batch), targets, probabilities.astype(np.float64))
        self._held_out_under = self.live.bank
