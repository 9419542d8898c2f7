"""A model with the trend of `raie`, counted over all users alike: so that the trend's gain is nobody's alone."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.online.ensemble import OnlineEnsemble, WindowFeatures, window_features
from pipeline.strategies.base import Scored, StrategyContext
from pipeline.strategies.baselines.ensemble import Ensemble
from pipeline.strategies.baselines.finetune import FineTune
from pipeline.strategies.baselines.lora import LoraReplay, SingleAdapter
from pipeline.strategies.common.part_learner import PartLearner

Probabilities = NDArray[np.float32]


class _Trended(PartLearner):
    """Stands before a strategy in the bases of a class: what that answers, with the trend mixed in."""

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        if not context.config.trend.half_lives:
            raise ConfigError([f"trend.half_lives is empty: {self.name} needs one; leave the strategy out, or set it"])
        followers = context.setup.followers(context.config.trend.shrinkage)
        self._trending = OnlineEnsemble(context.setup.counts, followers, 1, context.config)
        self._hold_out()

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: the trend learns from each window before the next one is scored."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for features, targets, answers in self._features_of(windows.contexts, windows.targets, windows.since_setup):
            mixed = np.empty(answers.shape)
            for i, target in enumerate(targets.tolist()):
                this = slice(i, i + 1)
                mixed[this], hits = self._trending.score_grid(
                    features[this], answers[this], target, features.contexts[i]
                )
                self._trending.learn(features, i, target, float(answers[i, target]), hits)
            ranks.append(rank_of_targets(mixed, targets, features.contexts))
        self._waiting.append(windows[~windows.cold])
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """See `Strategy.learn`."""
        super().learn()
        self._hold_out()

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for features, targets, answers in self._features_of(windows.contexts, windows.targets, windows.since_setup):
            ranks.append(rank_of_targets(self._trending.mix(features, answers), targets, features.contexts))
        return Scored(np.concatenate(ranks))

    def _features_of(
        self, contexts: Ids, targets: Ids, since_setup: NDArray[np.int64]
    ) -> Iterator[tuple[WindowFeatures, Ids, Probabilities]]:
        """Batches of windows: what the trend is told of them, their targets, and the model's answers."""
        size = self._context.config.replay.score_batch
        for start in range(0, len(contexts), size):
            part = slice(start, start + size)
            answers: Probabilities = self._answer(contexts[part]).numpy()
            everybody = np.ones((len(answers), 1))
            yield window_features(contexts[part], everybody, since_setup[part], answers), targets[part], answers

    def _hold_out(self) -> None:
        """Show the trend how held-out set-up windows are answered by now."""
        contexts, targets = self._context.setup.calibration.sample(self._context.config.trend.held_out)
        batches = list(self._features_of(contexts, targets, np.zeros(len(targets), dtype=np.int64)))
        probabilities = [answers[np.arange(len(told)), told] for _, told, answers in batches]
        since = np.concatenate([features.since for features, _, _ in batches])
        max_probability = np.concatenate([features.max_probability for features, _, _ in batches])
        features = WindowFeatures(contexts, np.ones((len(contexts), 1)), since, max_probability)
        self._trending.hold_out(features, targets, np.concatenate(probabilities).astype(np.float64))


class FineTuneTrend(_Trended, FineTune):
    """`finetune` with a trend over all users."""

    name = "finetune_trend"


class LoraReplayTrend(_Trended, LoraReplay):
    """`lora_replay` with a trend over all users."""

    name = "lora_replay_trend"


class SingleAdapterTrend(_Trended, SingleAdapter):
    """`raie_k1` with a trend over all users."""

    name = "raie_k1_trend"


class EnsembleTrend(_Trended, Ensemble):
    """`ensemble` with a trend over all users."""

    name = "ensemble_trend"
