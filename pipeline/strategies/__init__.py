"""Every strategy by name; a new one is one file and one line here."""

from collections.abc import Callable

from pipeline.strategies.base import Scored, Start, Strategy
from pipeline.strategies.finetune import FineTune
from pipeline.strategies.lora import Ensemble, Lora, LoraReplay, SingleAdapter
from pipeline.strategies.popularity import Popularity, PopularityRecent
from pipeline.strategies.raie import Raie
from pipeline.strategies.static import Static

STRATEGIES: dict[str, Callable[[Start], Strategy]] = {
    s.name: s
    for s in (Static, Popularity, PopularityRecent, FineTune, Lora, LoraReplay, SingleAdapter, Ensemble, Raie)
}

__all__ = ["STRATEGIES", "Scored", "Start", "Strategy"]
