"""Baselines with the online ensemble of `raie`, its decayed popularity counted over all users together.

They separate the gain of decayed popularity from that of regions and adapters.
"""

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
from pipeline.strategies.common.interval_learner import IntervalLearner

Probabilities = NDArray[np.float32]


class WithTrend(IntervalLearner):
    """Mixin before a strategy in the bases of a class: mixes decayed popularity into its probabilities."""

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        if not context.config.trend.half_lives:
            raise ConfigError([f"trend.half_lives is empty: {self.name} needs one; leave the strategy out, or set it"])
        transitions = context.setup.item_transitions(context.config.trend.shrinkage)
        self._ensemble = OnlineEnsemble(context.setup.counts, transitions, 1, context.config)
        self._hold_out()

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: the ensemble learns from each window before the next one is scored."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for features, targets, model in self._features_of(windows.contexts, windows.targets, windows.since_setup):
            mixed = np.empty(model.shape)
            for i, target in enumerate(targets.tolist()):
                row = slice(i, i + 1)
                mixed[row], hits = self._ensemble.score_grid(features[row], model[row], target, features.contexts[i])
                self._ensemble.learn(features, i, target, float(model[i, target]), hits)
            ranks.append(rank_of_targets(mixed, targets, features.contexts))
        self._pending.append(windows[~windows.cold])
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """See `Strategy.learn`."""
        super().learn()
        self._hold_out()

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for features, targets, model in self._features_of(windows.contexts, windows.targets, windows.since_setup):
            ranks.append(rank_of_targets(self._ensemble.mix(features, model), targets, features.contexts))
        return Scored(np.concatenate(ranks))

    def _features_of(
        self, contexts: Ids, targets: Ids, since_setup: NDArray[np.int64]
    ) -> Iterator[tuple[WindowFeatures, Ids, Probabilities]]:
        """Batches of windows: features for the ensemble, targets, and probabilities of the model."""
        size = self._context.config.replay.score_batch
        for start in range(0, len(contexts), size):
            rows = slice(start, start + size)
            model: Probabilities = self._probabilities(contexts[rows]).numpy()
            all_users = np.ones((len(model), 1))
            yield window_features(contexts[rows], all_users, since_setup[rows], model), targets[rows], model

    def _hold_out(self) -> None:
        """Update the ensemble with the current probabilities of held-out set-up targets."""
        contexts, targets = self._context.setup.calibration.sample(self._context.config.trend.held_out)
        batches = list(self._features_of(contexts, targets, np.zeros(len(targets), dtype=np.int64)))
        probabilities = [model[np.arange(len(chosen)), chosen] for _, chosen, model in batches]
        since = np.concatenate([features.since for features, _, _ in batches])
        max_probability = np.concatenate([features.max_probability for features, _, _ in batches])
        features = WindowFeatures(contexts, np.ones((len(contexts), 1)), since, max_probability)
        self._ensemble.hold_out(features, targets, np.concatenate(probabilities).astype(np.float64))


class FineTuneTrend(WithTrend, FineTune):
    """`finetune` with decayed popularity over all users."""

    name = "finetune_trend"


class LoraReplayTrend(WithTrend, LoraReplay):
    """`lora_replay` with decayed popularity over all users."""

    name = "lora_replay_trend"


class SingleAdapterTrend(WithTrend, SingleAdapter):
    """`raie_k1` with decayed popularity over all users."""

    name = "raie_k1_trend"


class EnsembleTrend(WithTrend, Ensemble):
    """`ensemble` with decayed popularity over all users."""

    name = "ensemble_trend"
