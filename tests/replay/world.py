"""Simulated logs, set up once a seed: until the drift begins a seed gives the same log in every scenario."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.config import Config, load_config
from pipeline.datasets.simulator import Simulation, simulate
from pipeline.datasets.splits import cut
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.windows import Histories, Windows, preceding_windows
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.text import open_text_encoder
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.raie.replayed import Raie

SEEDS = range(5 if os.environ.get("RAIE_ALL_SEEDS") else 1)
"""All five take many minutes: `RAIE_ALL_SEEDS=1 make test`."""
EVENTS = 20_000
SOON = 2_000
"""Events after the drift began."""
SETTINGS = (
    "windows.length=10",
    "setup.regions=6",
    "setup.learning_rate=3e-3",
    "setup.max_epochs=10",
    "setup.patience=10",
    "backbone.hidden_size=32",
)

Run = Callable[[str, int], Raie]
"""RAIE after a scenario under a seed; each is run once, and only looked at."""


@cache
def config() -> Config:
    return load_config(None, SETTINGS)


@cache
def simulated(scenario: str, seed: int) -> Simulation:
    return simulate(scenario, seed, EVENTS)


@cache
def catalogue(seed: int) -> Catalogue:
    """Every item that any scenario knows, so that one set-up serves them all."""
    items = {k: v for name in ("new_items", "emerging") for k, v in simulated(name, seed).items.items()}
    return make_catalogue(items, (), open_text_encoder("hashing", None))


def stream(scenario: str, seed: int) -> tuple[Windows, Windows]:
    """The set-up windows and those that follow."""
    events = sorted(simulated(scenario, seed).interactions, key=lambda e: (e.timestamp, e.event_id))
    until = cut([e.timestamp for e in events]).setup_until
    histories = Histories(config().windows.length)
    slices = [e for e in events if e.timestamp <= until], [e for e in events if e.timestamp > until]
    learned, following = (
        preceding_windows(part, catalogue(seed).row_of, histories, since_setup=since)
        for since, part in enumerate(slices)
    )
    return learned, following


@cache
def made_for(seed: int, first: str, last: str, count: int) -> SetUp:
    """Set-up for the windows from `first` to `last`; scenarios that share them share it."""
    scenario = next(s for s in ("quiet", "vanishing") if bounds(s, seed) == (first, last, count))
    return set_up(config(), catalogue(seed), stream(scenario, seed)[0], seed)


def run(scenario: str, seed: int, folder: Path, setup: SetUp | None = None) -> Raie:
    """Replay a scenario through the pipeline."""
    learned, following = stream(scenario, seed)
    made = setup or made_for(seed, *bounds(scenario, seed))
    raie = Raie(StrategyContext(made, config(), learned, seed, folder))
    for part in np.array_split(np.arange(len(following)), 12):
        raie.observe(following[part])
        raie.learn()
    return raie


def bounds(scenario: str, seed: int) -> tuple[str, str, int]:
    learned = stream(scenario, seed)[0]
    return str(learned.event_ids[0]), str(learned.event_ids[-1]), len(learned)


def published(raie: Raie) -> list[tuple[Edit, Outcome]]:
    return [(edit, outcome) for edit, outcome in raie.ledger if outcome.published]


def affected_share(edit: Edit, scenario: str, seed: int) -> float:
    """Share of an edit's windows that belong to users whom the planted drift affects."""
    simulation = simulated(scenario, seed)
    users = {user for entry in simulation.truth for user in entry["users"]}
    user_of = {e.event_id: e.user_id for e in simulation.interactions}
    return float(np.mean([user_of[e.event_id] in users for e in edit.windows])) if edit.windows else 0.0


def drift_event(scenario: str, seed: int) -> int:
    """Stream events before the planted drift begins."""
    return int((stream(scenario, seed)[1].timestamps < simulated(scenario, seed).truth[0]["from"]).sum())


def edited(raie: Raie, scenario: str, seed: int, *operations: Operation) -> list[int]:
    """Events after the drift began at which an affected region was edited so."""
    start = drift_event(scenario, seed)
    return [
        edit.at_event - start
        for edit, outcome in published(raie)
        if outcome.operation in operations and affected_share(edit, scenario, seed) >= 0.5
    ]
