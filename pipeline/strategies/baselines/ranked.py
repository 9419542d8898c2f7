"""Baselines with the second stage of `raie` over their own scores and those of the frozen backbone.

They separate what regions and adapters add from what counting and ranking do.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import NOT_SCORED
from pipeline.models.lora.host import AdapterHost
from pipeline.models.text_vectors import TextVectors
from pipeline.recommend.candidates.query import BACKBONE, MODEL, Query, recent_shares
from pipeline.recommend.candidates.scores import RankedScores
from pipeline.recommend.events import Event, events_of
from pipeline.recommend.held_out import HeldOut
from pipeline.recommend.model_scores import AllScores
from pipeline.recommend.second_stage import SecondStage
from pipeline.recommend.start import start
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.base import Scored, StrategyContext, batches
from pipeline.strategies.baselines.adaptive_el import AdaptiveEl
from pipeline.strategies.baselines.ensemble import Ensemble
from pipeline.strategies.baselines.evorec import EvoRec
from pipeline.strategies.baselines.finetune import FineTune
from pipeline.strategies.baselines.lora import LoraReplay, LoraRows, SingleAdapter
from pipeline.strategies.baselines.peso import Peso
from pipeline.strategies.baselines.retrain import Retrain
from pipeline.strategies.common.continuous import Continuous
from pipeline.strategies.common.interval_learner import IntervalLearner

SHARES = np.ones(1)
"""Shares of the only region: counts are over all users."""

Experts = list[Mapping[str, RankedScores]]
"""For each window, model -> probabilities of items."""


class Ranked(IntervalLearner):
    """Mixin before a strategy in the bases of a class: ranks candidates by the second stage.

    Attributes:
        models: names of the models that the second stage reads; none: it works without a model.
    """

    models: tuple[str, ...] = (MODEL, BACKBONE)

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        config = context.config
        if not config.trend.half_lives:
            raise ConfigError([f"trend.half_lives is empty: {self.name} needs one; leave the strategy out, or set it"])
        vectors = context.catalogue.vectors
        self._texts = TextVectors(np.concatenate([np.zeros((1, vectors.shape[1]), dtype=vectors.dtype), vectors]))
        self._frozen = AdapterHost(context.grown_backbone(), config.adapter)
        self._held_out = HeldOut(context.setup, config, self._ask)
        self._items = context.timeline.setup_items
        ids = ("", *context.timeline.item_ids)
        self._stage = SecondStage(context.setup, config, 1, self.models, self._texts_in_force, ids)
        start(self._stage, context.setup, self._ask, SHARES)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the model, and the counts and weights of the second stage."""
        own: int = super().memory_bytes  # type: ignore[safe-super]
        return own + self._stage.memory_bytes

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`: each event is counted before the next one is ranked."""
        ranks: list[int] = []
        for batch, existence in batches(windows, self._context.config.gate.batch_size, self._context.timeline):
            events = self._events(batch, existence)
            retained = partial(self._held_out.beside, existence=existence.at(len(batch) - 1))
            ranks += self._stage.rank_and_learn(events, retained)[0]
        self._pending.append(windows[~windows.cold])
        return Scored(np.array(ranks, dtype=np.int64))

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks: list[int] = []
        for batch, existence in batches(windows, self._context.config.replay.score_batch, self._context.timeline):
            for query, target, allowed in self._events(batch, existence):
                ranks.append(NOT_SCORED if allowed is None else self._stage.rank(query, allowed, target))
        return Scored(np.array(ranks, dtype=np.int64))

    def _texts_in_force(self) -> TextVectors:
        """Text embeddings of the items so far, padding first."""
        return self._texts.first(self._items + 1)

    def _events(self, windows: Windows, existence: Existence) -> list[Event]:
        """Windows with the scores of the models."""
        self._items = max(existence.items, self._items)
        self._stage.resize(self._items)
        queries = self._ask(windows.contexts, windows.earlier, windows.since_setup, existence)
        return events_of(queries, windows.targets, existence)

    def _ask(self, contexts: Ids, earlier: NDArray[np.int32], since_setup: Ids, existence: Existence) -> list[Query]:
        """See `Ask`."""
        recent = recent_shares(contexts, since_setup).tolist()
        columns = zip(contexts, earlier, recent, self._experts(contexts, existence), strict=True)
        return [Query(context, left, SHARES, share, 0.0, experts) for context, left, share, experts in columns]

    def _experts(self, contexts: Ids, existence: Existence) -> Experts:
        """Scores of the models for n windows."""
        if not self.models:
            return [{} for _ in contexts]
        model = self._probabilities(contexts, existence).cpu().numpy()
        backbone = next_item_probabilities(self._frozen, contexts, None, existence).cpu().numpy()
        return AllScores(model, backbone).experts()


class FineTuneRanked(Ranked, FineTune):
    """`finetune` with the second stage."""

    name = "finetune_ranked"


class RetrainRanked(Ranked, Retrain):
    """`retrain` with the second stage."""

    name = "retrain_ranked"


class LoraReplayRanked(Ranked, LoraReplay):
    """`lora_replay` with the second stage."""

    name = "lora_replay_ranked"


class SingleAdapterRanked(Ranked, SingleAdapter):
    """`raie_k1` with the second stage."""

    name = "raie_k1_ranked"


class EnsembleRanked(Ranked, Ensemble):
    """`ensemble` with the second stage."""

    name = "ensemble_ranked"


class PesoRanked(Ranked, Peso):
    """`peso` with the second stage."""

    name = "peso_ranked"


class EvoRecRanked(Ranked, EvoRec):
    """`evorec` with the second stage."""

    name = "evorec_ranked"


class LiveUpdateRanked(Continuous, Ranked, LoraRows):
    """`live_update` with the second stage."""

    name = "live_update_ranked"


class AdaptiveElRanked(Ranked, AdaptiveEl):
    """`adaptive_el` with the second stage."""

    name = "adaptive_el_ranked"


class _NeverLearning(IntervalLearner):
    """The frozen backbone, as a strategy that could learn."""

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`."""
        return 0

    def _learn(self, windows: Windows) -> None:
        """Learn nothing."""


class StaticRanked(Ranked, _NeverLearning):
    """`static` with the second stage."""

    name = "static_ranked"

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        return next_item_probabilities(self._frozen, contexts, None, existence)


class Ranker(StaticRanked):
    """The second stage alone, without any neural model of sequences."""

    name = "ranker"
    models = ()
