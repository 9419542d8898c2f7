"""Every strategy by name; a new one is one file and one line here."""

from collections.abc import Callable

from pipeline.strategies.ablations import (
    RaieCentroids,
    RaieFrozenRows,
    RaieGlobalTrend,
    RaieHard,
    RaieNoAdd,
    RaieNoEras,
    RaieNoExpand,
    RaieNoTrend,
    RaieOne,
    RaieReplay,
)
from pipeline.strategies.base import Scored, Start, Strategy
from pipeline.strategies.ebpr import Ebpr
from pipeline.strategies.ensemble import Ensemble, Ensemble25, Ensemble75
from pipeline.strategies.finetune import FineTune, FineTuneReplay
from pipeline.strategies.lora import Lora, LoraFrozenReplay, LoraReplay, LoraRows, SingleAdapter
from pipeline.strategies.lora_lwf import LoraLwf
from pipeline.strategies.lsat import Lsat
from pipeline.strategies.mole import Mole
from pipeline.strategies.nearest import Nearest
from pipeline.strategies.popularity import Popularity, PopularityRecent
from pipeline.strategies.popularity_window import PopularityWindow
from pipeline.strategies.raie import Raie
from pipeline.strategies.retrain import Retrain
from pipeline.strategies.scheduled import RaieScheduled
from pipeline.strategies.sequential_rules import SequentialRules
from pipeline.strategies.static import Static
from pipeline.strategies.taste import RaieTaste
from pipeline.strategies.trended import EnsembleTrend, FineTuneTrend, LoraReplayTrend, SingleAdapterTrend

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
    RaieTaste,
    RaieCentroids,
    RaieGlobalTrend,
    RaieNoEras,
    RaieHard,
    RaieNoExpand,
    RaieNoAdd,
    RaieReplay,
    RaieFrozenRows,
    RaieOne,
    RaieScheduled,
)

STRATEGIES: dict[str, Callable[[Start], Strategy]] = {strategy.name: strategy for strategy in _USUAL + _FURTHER}

USUAL: tuple[str, ...] = tuple(strategy.name for strategy in _USUAL)
"""What is run where nobody asks for more: one of each kind."""

__all__ = ["STRATEGIES", "USUAL", "Scored", "Start", "Strategy"]
