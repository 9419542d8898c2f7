"""Baselines with the online ensemble of `raie`, its decayed popularity counted over all users together.

They separate the gain of decayed popularity from that of regions and adapters.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.windows import Ids, Windows
from pipeline.online.ensemble import OnlineEnsemble, WindowFeatures, window_features
from pipeline.strategies.base import Scored, StrategyContext, batches
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
        context = self._context
        for batch, existence in batches(windows, context.config.replay.score_batch, context.timeline):
            features, model = self._features_of(batch.contexts, batch.since_setup, existence)
            mixed = self._mix_and_learn(batch, features, model, existence)
            ranks.append(ranks_of_existing(mixed, batch.targets, batch.contexts, existence))
        self._pending.append(windows[~windows.cold])
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """See `Strategy.learn`."""
        super().learn()
        self._hold_out()

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks = [np.zeros(0, dtype=np.int64)]
        context = self._context
        for batch, existence in batches(windows, context.config.replay.score_batch, context.timeline):
            mixed = self._ensemble.mix(*self._features_of(batch.contexts, batch.since_setup, existence))
            ranks.append(ranks_of_existing(mixed, batch.targets, batch.contexts, existence))
        return Scored(np.concatenate(ranks))

    def _mix_and_learn(
        self, windows: Windows, features: WindowFeatures, model: Probabilities, existence: Existence
    ) -> NDArray[np.float64]:
        """(n, items + 1) mixed scores; the ensemble learns from each window in turn."""
        mixed, scored = np.zeros(model.shape), existence.includes(windows.targets)
        for i, target in enumerate(windows.targets.tolist()):
            if not scored[i]:
                self._ensemble.add(features.setup_shares[i], windows.contexts[i], target)
                continue
            row, excluded = slice(i, i + 1), existence.excluded(i, windows.contexts[i])
            mixed[row], hits = self._ensemble.score_grid(features[row], model[row], target, excluded)
            self._ensemble.learn(features, i, target, float(model[i, target]), hits)
        return mixed

    def _features_of(
        self, contexts: Ids, since_setup: NDArray[np.int64], existence: Existence
    ) -> tuple[WindowFeatures, Probabilities]:
        """Features of windows for the ensemble, and probabilities of the model."""
        self._ensemble.resize(existence.items)
        model: Probabilities = self._probabilities(contexts, existence).numpy()
        return window_features(contexts, np.ones((len(model), 1)), since_setup, model), model

    def _hold_out(self) -> None:
        """Update the ensemble with the current probabilities of held-out set-up targets, among the items of set-up."""
        contexts, targets = self._context.setup.calibration.sample(self._context.config.trend.held_out)
        of_setup = Existence.of_all(len(self._context.setup.catalogue))
        features, model = self._features_of(contexts, np.zeros(len(targets), dtype=np.int64), of_setup)
        self._ensemble.hold_out(features, targets, model[np.arange(len(targets)), targets].astype(np.float64))


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
