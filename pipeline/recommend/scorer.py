"""The gate stage: score each interaction before anything learns from it, and say where it belongs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.events.gated import GatedEvent, OnlineFeatures
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.online.ensemble import OnlineEnsemble, WindowFeatures, origin_features, setup_shares_of, window_features
from pipeline.online.origin_prior import OriginFeatures, reweighted
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.features import negative_log_popularity
from pipeline.regions.live import LiveRegions
from pipeline.regions.mixing import mixed_probabilities, rerouted, scored
from pipeline.setup.artifacts import SetUp


@dataclass(frozen=True)
class Answers:
    """What the gate answers n windows, and how sure it is.

    Attributes:
        posterior: over the live regions.
        route: (n, 1 + opened) weights of backbone and adapters.
        probabilities: (n, items + 1) probabilities of what comes next.
        backbone: (n, items + 1) those that the backbone alone gives.
    """

    posterior: Posterior
    route: Array
    probabilities: NDArray[np.floating[Any]]
    backbone: NDArray[np.float32]

    def reweighted(self, origin_weight: Array) -> "Answers":
        """The same with opened regions taking (n,) so many times their part in each."""
        if (origin_weight == 1.0).all():
            return self
        known = reweighted(self.probabilities, self.backbone, origin_weight[:, None])
        return replace(self, route=rerouted(self.route, origin_weight), probabilities=known)


class EventScorer:
    """Gates windows under the newest revision.

    Attributes:
        live: the regions and adapters in force.
        trending: the trend, or None where the configuration has none.
        origin_prior: its eras; a gate without a trend can have them too.
        withdrawn: (n,) catalogue rows that no target is ranked among: they are not recommended.
    """

    def __init__(self, setup: SetUp, config: Config, live: LiveRegions) -> None:
        self.live = live
        self._setup = setup
        self._config = config
        self.trending = (
            OnlineEnsemble(setup.counts, setup.item_transitions(config.trend.shrinkage), len(setup.bank.setup), config)
            if config.trend.half_lives
            else None
        )
        self.origin_prior = self.trending.origin_prior if self.trending else None
        self.withdrawn = np.zeros(0, dtype=np.int64)
        self._followed: RegionBank | None = None

    def answer(self, windows: Windows) -> Answers:
        """Gate and answer windows, era and trend as they stand; what followed them is not looked at."""
        answers = self._gated(windows.contexts, windows.since_setup)
        if self.origin_prior is not None:
            answers = answers.reweighted(self.origin_prior.origin_weight(self._origin_features(answers, windows)))
        if self.trending is None:
            return answers
        self._follow(self.trending)
        features = self._features_of(windows.contexts, windows.since_setup, answers)
        return replace(answers, probabilities=self.trending.mix(features, answers.probabilities))

    def handle(self, windows: Windows) -> list[GatedEvent]:
        """Gate windows and score what followed them; every window is learned before the next one is scored."""
        own = np.arange(len(windows)), windows.targets
        answers = self._gated(windows.contexts, windows.since_setup)
        backbone, opened = answers.backbone[own], answers.posterior.since
        if self.origin_prior is not None:
            where = self._origin_features(answers, windows)
            opened, origin_weight = self.origin_prior.follow(where, answers.probabilities[own], backbone)
            answers = answers.reweighted(origin_weight)
        model_ranks = self._ranks(answers.probabilities, windows)
        columns = {
            **self._columns(windows, answers),
            "opened": opened.tolist(),
            "backbone_probability": backbone.tolist(),
            "model_rank": model_ranks.tolist(),
            "rank": model_ranks.tolist(),
        }
        if self.trending is not None:
            columns["rank"], columns["online"] = self._with_trend(self.trending, windows, answers)
        rows = zip(*columns.values(), strict=True)
        return [
            GatedEvent(**dict(zip(columns, row, strict=True)), gate_version=self.live.bank.gate_version) for row in rows
        ]

    def _columns(self, windows: Windows, answers: Answers) -> dict[str, list[Any]]:
        """Fields of `GatedEvent` that follow from windows and answers alone, a list of n values each."""
        posterior, bank = answers.posterior, self.live.bank
        probabilities = answers.probabilities[np.arange(len(windows)), windows.targets]
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
                for row in answers.route[:, 1:]
            ],
            "confidence": posterior.confidence.tolist(),
            "margin": posterior.margin.tolist(),
            "angle": posterior.angles.tolist(),
            "loss": (-np.log(np.maximum(probabilities, 1e-12))).tolist(),
            "rarity": negative_log_popularity(windows.targets, self._setup.counts).tolist(),
        }

    def learn_again(self, events: Iterable[GatedEvent]) -> None:
        """Bring the online ensemble up to date with events that were gated under the revision in force."""
        if self.trending is not None:
            self._follow(self.trending)
            for event in events:
                self.trending.learn_again(event)

    def _gated(self, contexts: Ids, since_setup: NDArray[np.int64]) -> Answers:
        """Gate windows, and answer them with the model alone."""
        host, bank = self.live.host, self.live.bank
        states = host.states(contexts, None)
        posterior = bank.posterior(self._setup.view(states, contexts, since_setup))
        route = posterior.route(self._config.gate.floor)
        backbone = scored(host, states, None)
        answer = mixed_probabilities(host, contexts, bank.shares(route), bank.adapters, backbone)
        return Answers(posterior, route, answer.numpy(), backbone.numpy())

    def _origin_features(self, answers: Answers, windows: Windows) -> OriginFeatures:
        return origin_features(self._setup.bank, answers.posterior, answers.route, windows.since_setup)

    def _features_of(self, contexts: Ids, since_setup: NDArray[np.int64], answers: Answers) -> WindowFeatures:
        setup_tops = setup_shares_of(self._setup.bank, answers.posterior)
        return window_features(contexts, setup_tops, since_setup, answers.probabilities)

    def _with_trend(
        self, trending: OnlineEnsemble, windows: Windows, answers: Answers
    ) -> tuple[list[int], list[OnlineFeatures]]:
        """Rank of each target in the mixed answers, and what the ensemble learned from each window in turn."""
        self._follow(trending)
        features = self._features_of(windows.contexts, windows.since_setup, answers)
        shares = trending.counted_shares(features)
        mixed, online = np.empty(answers.probabilities.shape), []
        for i, target in enumerate(windows.targets.tolist()):
            this, probabilities = features[i : i + 1], answers.probabilities[i : i + 1]
            excluded = np.append(windows.contexts[i], self.withdrawn)
            mixed[i : i + 1], hits = trending.score_grid(this, probabilities, target, excluded)
            probability = float(probabilities[0, target])
            trending.learn(features, i, target, probability, hits)
            online.append(OnlineFeatures(probability, float(features.max_probability[i]), shares[i], hits))
        ranks: list[int] = self._ranks(mixed, windows).tolist()
        return ranks, online

    def _ranks(self, probabilities: NDArray[np.floating[Any]], windows: Windows) -> Ids:
        """Rank of each target among the items that may be recommended, itself always one of them."""
        if len(self.withdrawn):
            own = np.arange(len(windows)), windows.targets
            kept, probabilities = probabilities[own], probabilities.copy()
            probabilities[:, self.withdrawn] = -1.0
            probabilities[own] = kept
        return rank_of_targets(probabilities, windows.targets, windows.contexts)

    def _follow(self, trending: OnlineEnsemble) -> None:
        """Show the trend how the held-out set-up windows are answered under the revision in force."""
        if self._followed is self.live.bank:
            return
        contexts, targets = self._setup.calibration.sample(self._config.trend.held_out)
        none = np.zeros(len(targets), dtype=np.int64)
        answers = self._gated(contexts, none)
        probabilities = answers.probabilities[np.arange(len(targets)), targets]
        trending.hold_out(self._features_of(contexts, none, answers), targets, probabilities.astype(np.float64))
        self._followed = self.live.bank
