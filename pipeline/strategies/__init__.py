"""Strategies by name; a new one is one file and one line here."""

from collections.abc import Callable

from pipeline.strategies.base import Scored, Strategy, StrategyContext
from pipeline.strategies.baselines.ebpr import Ebpr
from pipeline.strategies.baselines.ensemble import Ensemble, Ensemble25, Ensemble75
from pipeline.strategies.baselines.finetune import FineTune, FineTuneReplay
from pipeline.strategies.baselines.lora import Lora, LoraFrozenReplay, LoraReplay, LoraRows, SingleAdapter
from pipeline.strategies.baselines.lora_lwf import LoraLwf
from pipeline.strategies.baselines.lsat import Lsat
from pipeline.strategies.baselines.mole import Mole
from pipeline.strategies.baselines.nearest import Nearest
from pipeline.strategies.baselines.popularity import Popularity, PopularityRecent
from pipeline.strategies.baselines.popularity_window import PopularityWindow
from pipeline.strategies.baselines.retrain import Retrain
from pipeline.strategies.baselines.sequential_rules import SequentialRules
from pipeline.strategies.baselines.static import Static
from pipeline.strategies.baselines.with_trend import EnsembleTrend, FineTuneTrend, LoraReplayTrend, SingleAdapterTrend
from pipeline.strategies.raie.ablations import (
    RaieCentroids,
    RaieFrozenRows,
    RaieGlobalTrend,
    RaieHard,
    RaieNoAdd,
    RaieNoExpand,
    RaieNoOriginPrior,
    RaieNoTrend,
    RaieOne,
    RaieReplay,
)
from pipeline.strategies.raie.per_region import RaiePerRegion
from pipeline.strategies.raie.replayed import Raie
from pipeline.strategies.raie.scheduled import RaieScheduled

_USUAL: tuple[type[Strategy], ...] = (
    Static,
    Popularity,
    PopularityRecent,
    SequentialRules,
    FineTune,
    Lora,
    LoraReplay,
    SingleAdapter,
    Ensemble,
    EnsembleTrend,
    RaieNoTrend,
    Raie,
)
_FURTHER: tuple[type[Strategy], ...] = (
    PopularityWindow,
    FineTuneReplay,
    Retrain,
    LoraFrozenReplay,
    LoraRows,
    LoraLwf,
    Lsat,
    Mole,
    Ebpr,
    Nearest,
    Ensemble25,
    Ensemble75,
    FineTuneTrend,
    LoraReplayTrend,
    SingleAdapterTrend,
    RaiePerRegion,
    RaieCentroids,
    RaieGlobalTrend,
    RaieNoOriginPrior,
    RaieHard,
    RaieNoExpand,
    RaieNoAdd,
    RaieReplay,
    RaieFrozenRows,
    RaieOne,
    RaieScheduled,
)

STRATEGIES: dict[str, Callable[[StrategyContext], Strategy]] = {
    strategy.name: strategy for strategy in _USUAL + _FURTHER
}

USUAL: tuple[str, ...] = tuple(strategy.name for strategy in _USUAL)
"""Strategies of a replay by default, one of each kind."""

__all__ = ["STRATEGIES", "USUAL", "Scored", "Strategy", "StrategyContext"]
