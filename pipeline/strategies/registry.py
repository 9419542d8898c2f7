"""The strategies of the table, loaded."""

from collections.abc import Callable
from importlib import import_module

from pipeline.strategies import DEFAULT, FURTHER
from pipeline.strategies.base import Strategy, StrategyContext

Make = Callable[[StrategyContext], Strategy]


def _load(reference: str) -> Make:
    module, _, name = reference.partition(":")
    make: Make = getattr(import_module(f"pipeline.strategies.{module}"), name)
    return make


STRATEGIES: dict[str, Make] = {name: _load(reference) for name, reference in {**DEFAULT, **FURTHER}.items()}
"""Strategy classes by name."""
