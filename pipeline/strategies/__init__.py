"""Every strategy by name; a new one is one file and one line here."""

from collections.abc import Callable

from pipeline.strategies.base import Scored, Start, Strategy
from pipeline.strategies.finetune import FineTune
from pipeline.strategies.lora import Ensemble, Lora, LoraReplay, SingleAdapter
from pipeline.strategies.popularity import Popularity, PopularityRecent
from pipeline.strategies.raie import Raie
from pipeline.strategies.static import Static

_ALL: tuple[type[Strategy], ...] = (
    Static,
    Popularity,
    PopularityRecent,
    FineTune,
    Lora,
    LoraReplay,
    SingleAdapter,
    Ensemble,
    Raie,
)

STRATEGIES: dict[str, Callable[[Start], Strategy]] = {strategy.name: strategy for strategy in _ALL}

__all__ = ["STRATEGIES", "Scored", "Start", "Strategy"]
