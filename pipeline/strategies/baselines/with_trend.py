"""A model with the trend of `raie`, counted over all users alike: so that the trend's gain is nobody's alone."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.online.ensemble import Asked, Trending, asked_of
from pipeline.strategies.base import Scored, Start
from pipeline.strategies.baselines.ensemble import Ensemble
from pipeline.strategies.baselines.finetune import FineTune
from pipeline.strategies.baselines.lora import LoraReplay, SingleAdapter
from pipeline.strategies.common.part_learner import PartLearner

Answers = NDArray[np.float32]


class _Trended(PartLearner):
    """Stands before a strategy in the bases of a class: what that answers, with the trend mixed in."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        if not start.config.trend.half_lives:
            raise ConfigError([f"trend.half_lives is empty: {self.name} needs one; leave the strategy out, or set it"])
        followers = start.setup.followers(start.config.trend.shrinkage)
        self._trending = Trending(start.setup.counts, followers, 1, start.config)
        self._hold_out()

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: the trend learns from each window before the next one is scored."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for asked, targets, answers in self._asked(windows.contexts, windows.targets, windows.since_setup):
            mixed = np.empty(answers.shape)
            for i, target in enumerate(targets.tolist()):
                this = slice(i, i + 1)
                mixed[this], hits = self._trending.tried(asked[this], answers[this], target, asked.contexts[i])
                self._trending.learn(asked, i, target, float(answers[i, target]), hits)
            ranks.append(rank_of_targets(mixed, targets, asked.contexts))
        self._waiting.append(windows[~windows.cold])
        return Scored(np.concatenate(ranks))

    def learn(self) -> None:
        """See `Strategy.learn`."""
        super().learn()
        self._hold_out()

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks = [np.zeros(0, dtype=np.int64)]
        for asked, targets, answers in self._asked(windows.contexts, windows.targets, windows.since_setup):
            ranks.append(rank_of_targets(self._trending.mix(asked, answers), targets, asked.contexts))
        return Scored(np.concatenate(ranks))

    def _asked(
        self, contexts: Ids, targets: Ids, since_setup: NDArray[np.int64]
    ) -> Iterator[tuple[Asked, Ids, Answers]]:
        """Batches of windows: what the trend is told of them, their targets, and the model's answers."""
        size = self._start.config.replay.score_batch
        for start in range(0, len(contexts), size):
            part = slice(start, start + size)
            answers: Answers = self._answer(contexts[part]).numpy()
            everybody = np.ones((len(answers), 1))
            yield asked_of(contexts[part], everybody, since_setup[part], answers), targets[part], answers

    def _hold_out(self) -> None:
        """Show the trend how held-out set-up windows are answered by now."""
        contexts, targets = self._start.setup.calibration.sample(self._start.config.trend.held_out)
        batches = list(self._asked(contexts, targets, np.zeros(len(targets), dtype=np.int64)))
        chances = [answers[np.arange(len(told)), told] for _, told, answers in batches]
        since = np.concatenate([asked.since for asked, _, _ in batches])
        surest = np.concatenate([asked.surest for asked, _, _ in batches])
        asked = Asked(contexts, np.ones((len(contexts), 1)), since, surest)
        self._trending.hold_out(asked, targets, np.concatenate(chances).astype(np.float64))


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
