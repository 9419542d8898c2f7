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
from pipeline.events.interaction import Interaction
from pipeline.events.windows import Histories, Windows, preceding_windows
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.text import TextEncoder, open_text_encoder
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.raie.replayed import Raie
from pipeline.strategies.timeline import Stream, Timeline

LONG = bool(os.environ.get("RAIE_SOAK") or os.environ.get("RAIE_ALL_SEEDS"))
"""True where every stream runs to its end, as `make soak` wants it."""
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
def events(scenario: str, seed: int) -> tuple[list[Interaction], list[Interaction]]:
    """The interactions of set-up and those that follow."""
    ordered = sorted(simulated(scenario, seed).interactions, key=lambda e: (e.timestamp, e.event_id))
    until = cut([e.timestamp for e in ordered]).setup_until
    return [e for e in ordered if e.timestamp <= until], [e for e in ordered if e.timestamp > until]


@cache
def timeline(scenario: str, seed: int) -> Timeline:
    """Existence of the items: those of set-up, and each other one from its first interaction on."""
    before, after = events(scenario, seed)
    moments, ids = np.array([e.timestamp for e in after]), [e.item_id for e in after]
    users = [e.user_id for e in after]
    setup_ids = sorted({e.item_id for e in before})
    return Timeline(
        simulated(scenario, seed).items, setup_ids, Stream(len(before), moments, ids, [], users), config().items
    )


@cache
def catalogue(scenario: str, seed: int) -> Catalogue:
    """Every item of a scenario, those of set-up first."""
    return make_catalogue(timeline(scenario, seed).item_ids, simulated(scenario, seed).items, encoder())


@cache
def encoder() -> TextEncoder | None:
    return open_text_encoder("hashing", None)


def stream(scenario: str, seed: int) -> tuple[Windows, Windows]:
    """The set-up windows and those that follow."""
    histories, row_of, slices = (
        Histories(config().windows.length),
        timeline(scenario, seed).row_of,
        events(scenario, seed),
    )
    learned, following = (
        preceding_windows(part, row_of, histories, since_setup=bool(number), first=number * len(slices[0]))
        for number, part in enumerate(slices)
    )
    return learned, following


@cache
def made_for(seed: int, first: str, last: str, count: int) -> SetUp:
    """Set-up for the windows from `first` to `last`; scenarios that share them share it."""
    scenario = next(s for s in ("quiet", "vanishing") if bounds(s, seed) == (first, last, count))
    known = catalogue(scenario, seed).first(timeline(scenario, seed).setup_items)
    return set_up(config(), known, stream(scenario, seed)[0], seed)


PARTS = 12
"""Parts of a stream."""


def run(scenario: str, seed: int, folder: Path, setup: SetUp | None = None, parts: int = PARTS) -> Raie:
    """Replay the first parts of a scenario through the pipeline."""
    learned, following = stream(scenario, seed)
    made = setup or made_for(seed, *bounds(scenario, seed))
    known = timeline(scenario, seed), simulated(scenario, seed).items, catalogue(scenario, seed), encoder()
    raie = Raie(StrategyContext(made, config(), learned, seed, folder, *known))
    for part in np.array_split(np.arange(len(following)), PARTS)[:parts]:
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
