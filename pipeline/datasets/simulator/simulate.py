"""Simulation of a log with known drifts, for tests and for the evaluation of a method on each kind of drift."""

import csv
import json
import math
from collections import defaultdict, deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.simulator.population import Population, Schedule, draw_population
from pipeline.datasets.simulator.scenario import FROM, A, Scenario
from pipeline.datasets.simulator.scenarios import SCENARIOS
from pipeline.datasets.simulator.world import Parameters, Regime, World, build_world
from pipeline.errors import DataError
from pipeline.events.interaction import Interaction, parse_interaction
from pipeline.events.item import MOMENTS, Item

FEWEST_EVENTS = 1_000
"""Minimum number of events; with fewer, a preference has too few users for its drift to show."""

REMEMBERED = 50
"""Items of a user that are taken again."""

AGAIN = 0.15
"""Probability of each of these, from the newest one on, to be the one where none before it was."""


@dataclass(frozen=True)
class Simulation:
    """A simulated log.

    Attributes:
        interactions: in order of time, at most one a second.
        items: by item_id; the initial ones, and those that a drift introduces later.
        truth: one entry for each drift: `kind`; `from` and `until`, in seconds since 1970, the period in which the
            world differs from set-up (`until` excluded; the end of the log for a lasting drift); `users` and `items`
            affected. Empty without drift.
    """

    interactions: tuple[Interaction, ...]
    items: Mapping[str, Item]
    truth: list[dict[str, Any]]


def simulate(scenario: str, seed: int, events: int = 20_000) -> Simulation:
    """Simulate a log; the same arguments give the same log.

    Args:
        scenario: one of `SCENARIOS`.
        seed: of all random draws.
        events: number of interactions.

    Raises:
        DataError: there is no such scenario, or too few events.
    """
    if scenario not in SCENARIOS:
        raise DataError(f"there is no scenario {scenario!r}; there are: {', '.join(SCENARIOS)}")
    if events < FEWEST_EVENTS:
        raise DataError(f"a simulated log needs at least {FEWEST_EVENTS} events, not {events}")
    rng, drifts = np.random.default_rng(seed), SCENARIOS[scenario]
    world = build_world(drifts.parameters, rng)
    population, candidates = draw_population(world.parameters, events, rng)
    schedule, begins = _thin(population, candidates, events, drifts.silences, rng)
    # A separate generator: until the drift begins, a seed gives the same log in every scenario.
    drift = drifts(world, population, begins, np.random.default_rng([seed, 1]))
    chosen = _consume(world, drift, schedule, rng)
    interactions = tuple(
        parse_interaction(
            {"user_id": population.user_ids[user], "item_id": world.catalogue[item].item_id, "timestamp": t}
        )
        for user, item, t in zip(schedule.users.tolist(), chosen, schedule.timestamps.tolist(), strict=True)
    )
    return Simulation(interactions, _items(world, drift), _truth(world, drift, schedule))


def write(simulation: Simulation, folder: Path) -> None:
    """Write `interactions.csv`, `items.csv` and `truth.json` for `read_dataset`; the same log gives the same bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = ((e.user_id, e.item_id, str(int(e.timestamp))) for e in simulation.interactions)
    _write_csv(folder / "interactions.csv", ("user_id", "item_id", "timestamp"), events)
    items = simulation.items.values()
    moments = [name for name in MOMENTS if any(name in item.moments for item in items)]
    rows = ((i.item_id, i.text, *(str(i.moments.get(name, "")) for name in moments)) for i in items)
    _write_csv(folder / "items.csv", ("item_id", "text", *moments), rows)
    with (folder / "truth.json").open("w", encoding="utf-8", newline="\n") as file:
        json.dump(simulation.truth, file, indent=1)
        file.write("\n")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _thin(
    population: Population, candidates: Schedule, events: int, silences: bool, rng: np.random.Generator
) -> tuple[Schedule, float]:
    """Sample `events` moments, none of silenced users, and return them with the start of the drift.

    A drift that silences users removes moments after its start, so the start is chosen such that 60 % of the remaining
    moments lie before it.
    """
    silent = (population.primary[candidates.users] == A) & silences
    before = np.arange(len(silent))
    after = np.cumsum(~silent[::-1])[::-1]
    first = int(np.argmax(before >= FROM * (before + after)))
    kept = np.flatnonzero((before < first) | ~silent)
    chosen = np.sort(rng.choice(kept, size=events, replace=False))
    return candidates.at(chosen), float(candidates.moments[first])


def _consume(world: World, drift: Scenario, schedule: Schedule, rng: np.random.Generator) -> list[int]:
    """Return the item of each moment, as an index into the catalogue."""
    parameters = world.parameters
    recent: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=parameters.recent))
    earlier: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
    last: dict[tuple[int, int], int] = {}
    chosen = []
    for user, moment in zip(schedule.users.tolist(), schedule.moments.tolist(), strict=True):
        preference = drift.primary(user, moment)
        if rng.random() >= parameters.primary_share:
            preferences = drift.preferences(moment)
            preference = preferences[int(rng.random() * len(preferences))]
        regime = drift.regime(preference, moment)
        if parameters.repeat and earlier[user] and rng.random() < parameters.repeat:
            chosen.append(_again(earlier[user], rng))
            continue
        item = _next_item(regime, last.get((user, preference)), recent[user], parameters.follow, rng)
        last[user, preference] = item
        recent[user].append(item)
        earlier[user].append(item)
        chosen.append(item)
    return chosen


def _again(earlier: Sequence[int], rng: np.random.Generator) -> int:
    """One of a user's earlier items, newer ones likelier."""
    return earlier[-1 - (int(rng.geometric(AGAIN)) - 1) % len(earlier)]


def _next_item(
    regime: Regime, last: int | None, recent: Container[int], follow: float, rng: np.random.Generator
) -> int:
    """Draw a successor of the last item, else an item by popularity; recent items are excluded."""
    if last is not None and rng.random() < follow:
        fresh = [item for item in regime.successors.get(last, ()) if item not in recent]
        if fresh:
            return fresh[int(rng.random() * len(fresh))]
    while True:
        item = int(regime.items[np.searchsorted(regime.popularity, rng.random(), side="right")])
        if item not in recent:
            return item


def _items(world: World, drift: Scenario) -> dict[str, Item]:
    """Return the initial items and those that the drift introduces, by item_id."""
    indices = np.unique(np.concatenate([*world.known, *(drift.items(start) for start, _ in drift.periods)]))
    items = {index: world.catalogue[index] for index in indices.tolist()}
    for index, moment in drift.announced.items():
        items[index] = replace(items[index], available_from=float(_timestamp(world.parameters, moment)))
    for index, moment in drift.ends.items():
        items[index] = replace(items[index], expires=_end(world.parameters, moment))
    return {item.item_id: item for item in items.values()}


def _timestamp(parameters: Parameters, moment: float) -> int:
    return parameters.start + round(moment * parameters.span)


def _end(parameters: Parameters, moment: float) -> float:
    """Timestamp from which an item exists no longer that is taken before this moment."""
    return float(parameters.start + math.ceil(moment * parameters.span))


def _truth(world: World, drift: Scenario, schedule: Schedule) -> list[dict[str, Any]]:
    return [_entry(world, drift, schedule, start, end) for start, end in drift.periods]


def _entry(world: World, drift: Scenario, schedule: Schedule, start: float, end: float) -> dict[str, Any]:
    parameters = world.parameters
    last = int(schedule.timestamps[-1]) + 1
    # Silenced users were last seen before the drift; other affected users have events during it.
    during = schedule.moments < end if drift.silences else (schedule.moments >= start) & (schedule.moments < end)
    users = drift.users(schedule.at(np.flatnonzero(during)))
    return {
        "kind": drift.kind,
        "from": _timestamp(parameters, start),
        "until": last if math.isinf(end) else _timestamp(parameters, end),
        "users": sorted(drift.population.user_ids[user] for user in users),
        "items": sorted(world.catalogue[item].item_id for item in drift.items(start).tolist()),
    }
