"""The gate stage: score each interaction before anything learns from it, and say where it belongs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.online.ensemble import Asked, Trending, asked_of, placed, tastes_of
from pipeline.online.origin_prior import Placed, grown
from pipeline.regions.bank import Posterior, RegionBank, mixed_probabilities, rerouted, scored
from pipeline.regions.live import LiveRegions
from pipeline.regions.origin_classifier import rarity
from pipeline.regions.region import Array
from pipeline.setup.bootstrap import SetUp


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

    def grown(self, growth: Array) -> "Answers":
        """The same with opened regions taking (n,) so many times their part in each."""
        if (growth == 1.0).all():
            return self
        known = grown(self.probabilities, self.backbone, growth[:, None])
        return replace(self, route=rerouted(self.route, growth), probabilities=known)


class GateHandler:
    """Gates windows under the newest revision.

    Attributes:
        live: the regions and adapters in force.
        trending: the trend, or None where the configuration has none.
        eras: its eras; a gate without a trend can have them too.
        withdrawn: (n,) catalogue rows that no target is ranked among: they are not recommended.
    """

    def __init__(self, setup: SetUp, config: Config, live: LiveRegions) -> None:
        self.live = live
        self._setup = setup
        self._config = config
        self.trending = (
            Trending(setup.counts, setup.followers(config.trend.shrinkage), len(setup.bank.setup), config)
            if config.trend.half_lives
            else None
        )
        self.eras = self.trending.eras if self.trending else None
        self.withdrawn = np.zeros(0, dtype=np.int64)
        self._followed: RegionBank | None = None

    def answer(self, windows: Windows) -> Answers:
        """Gate and answer windows, era and trend as they stand; what followed them is not looked at."""
        answers = self._gated(windows.contexts, windows.since_setup)
        if self.eras is not None:
            answers = answers.grown(self.eras.growth(self._placed(answers, windows)))
        if self.trending is None:
            return answers
        self._follow(self.trending)
        asked = self._asked(windows.contexts, windows.since_setup, answers)
        return replace(answers, probabilities=self.trending.mix(asked, answers.probabilities))

    def handle(self, windows: Windows) -> list[dict[str, Any]]:
        """Gate windows and score what followed them: one record of `gated` each.

        Era and trend learn from each window before the next one is scored.
        """
        own = np.arange(len(windows)), windows.targets
        answers = self._gated(windows.contexts, windows.since_setup)
        posterior, bank = answers.posterior, self.live.bank
        backbone, opened = answers.backbone[own], posterior.since
        if self.eras is not None:
            where = self._placed(answers, windows)
            opened, growth = self.eras.follow(where, answers.probabilities[own], backbone)
            answers = answers.grown(growth)
        chances = answers.probabilities[own]
        model_ranks = self._ranks(answers.probabilities, windows)
        columns = {
            "event_id": windows.event_ids.tolist(),
            "user_id": windows.users.tolist(),
            "timestamp": windows.timestamps.tolist(),
            "target": windows.targets.tolist(),
            "window": windows.contexts.tolist(),
            "since_setup": windows.since_setup.tolist(),
            "cold": windows.cold.tolist(),
            "region_id": posterior.tops.tolist(),
            "taste": posterior.tastes.tolist(),
            "taste_rival": posterior.taste_rivals.tolist(),
            "taste_margin": posterior.taste_margins.tolist(),
            "route": [
                [r.region_id for r, w in zip(bank.opened, row, strict=True) if w >= self._config.gate.floor]
                for row in answers.route[:, 1:]
            ],
            "confidence": posterior.confidence.tolist(),
            "margin": posterior.margin.tolist(),
            "angle": posterior.angles.tolist(),
            "opened": opened.tolist(),
            "backbone_chance": backbone.tolist(),
            "loss": (-np.log(np.maximum(chances, 1e-12))).tolist(),
            "rarity": rarity(windows.targets, self._setup.counts).tolist(),
            "model_rank": model_ranks.tolist(),
            "rank": model_ranks.tolist(),
        }
        if self.trending is not None:
            asked = self._asked(windows.contexts, windows.since_setup, answers)
            columns |= {"model_chance": chances.tolist(), **self.trending.fields(asked)}
            columns["rank"], columns["hits"] = self._with_trend(self.trending, asked, windows, answers)
        shared = {"gate_version": bank.gate_version}
        return [dict(zip(columns, row, strict=True)) | shared for row in zip(*columns.values(), strict=True)]

    def learn_again(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Bring the trend up to date with records of `gated` of the revision in force."""
        if self.trending is not None:
            self._follow(self.trending)
            for record in records:
                self.trending.learn_again(record)

    def _gated(self, contexts: Ids, since_setup: NDArray[np.int64]) -> Answers:
        """Gate windows, and answer them with the model alone."""
        host, bank = self.live.host, self.live.bank
        states = host.states(contexts, None)
        posterior = bank.posterior(self._setup.view(states, contexts, since_setup))
        route = posterior.route(self._config.gate.floor)
        backbone = scored(host, states, None)
        answer = mixed_probabilities(host, contexts, bank.shares(route), bank.adapters, backbone)
        return Answers(posterior, route, answer.numpy(), backbone.numpy())

    def _placed(self, answers: Answers, windows: Windows) -> Placed:
        return placed(self._setup.bank, answers.posterior, answers.route, windows.since_setup)

    def _asked(self, contexts: Ids, since_setup: NDArray[np.int64], answers: Answers) -> Asked:
        tastes = tastes_of(self._setup.bank, answers.posterior)
        return asked_of(contexts, tastes, since_setup, answers.probabilities)

    def _with_trend(
        self, trending: Trending, asked: Asked, windows: Windows, answers: Answers
    ) -> tuple[list[int], list[list[bool]]]:
        """Rank and hits of each target with the trend mixed in, every window after the one before it was learned."""
        self._follow(trending)
        mixed, hits = np.empty(answers.probabilities.shape), []
        for i, target in enumerate(windows.targets.tolist()):
            this, chances = asked[i : i + 1], answers.probabilities[i : i + 1]
            excluded = np.append(windows.contexts[i], self.withdrawn)
            mixed[i : i + 1], hit = trending.tried(this, chances, target, excluded)
            trending.learn(asked, i, target, float(chances[0, target]), hit)
            hits.append(hit)
        ranks: list[int] = self._ranks(mixed, windows).tolist()
        return ranks, hits

    def _ranks(self, chances: NDArray[np.floating[Any]], windows: Windows) -> Ids:
        """Rank of each target among the items that may be recommended, itself always one of them."""
        if len(self.withdrawn):
            own = np.arange(len(windows)), windows.targets
            kept, chances = chances[own], chances.copy()
            chances[:, self.withdrawn] = -1.0
            chances[own] = kept
        return rank_of_targets(chances, windows.targets, windows.contexts)

    def _follow(self, trending: Trending) -> None:
        """Show the trend how the held-out set-up windows are answered under the revision in force."""
        if self._followed is self.live.bank:
            return
        contexts, targets = self._setup.calibration.sample(self._config.trend.held_out)
        none = np.zeros(len(targets), dtype=np.int64)
        answers = self._gated(contexts, none)
        chances = answers.probabilities[np.arange(len(targets)), targets]
        trending.hold_out(self._asked(contexts, none, answers), targets, chances.astype(np.float64))
        self._followed = self.live.bank
