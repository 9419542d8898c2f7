"""Tastes and items: what there is to consume, how popular it is, and what follows what."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.datasets.simulator.vocabulary import VOCABULARIES, Vocabulary
from pipeline.events.interaction import Item

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """The size and the habits of the simulated world.

    Attributes:
        tastes: known from the start (one more can emerge).
        items_per_taste: known from the start.
        new_share: items that can arrive later in a taste, as a share of `items_per_taste`.
        zipf: popularity of the r-th item of a taste is proportional to r ** -zipf.
        successors: items that tend to follow an item.
        follow: probability that the next item is a successor of the user's last one of that taste.
        primary_share: share of events in the user's primary taste; the rest is of any taste.
        recent: a user meets none of his last so many items again.
        start: first moment of the log, in seconds since 1970.
        days: length of the log.
        shortest_life: of a user, as a share of the length of the log.
        longest_life: likewise.
        events_per_life: mean number of events of a user seen from beginning to end.
        activity_shape: shape of the gamma distribution of the users' activity; larger is more even.
    """

    tastes: int = 6
    items_per_taste: int = 60
    new_share: float = 0.4
    zipf: float = 1.2
    successors: int = 2
    follow: float = 0.7
    primary_share: float = 0.9
    recent: int = 10
    start: int = 1_600_000_000
    days: int = 200
    shortest_life: float = 0.25
    longest_life: float = 0.45
    events_per_life: float = 60.0
    activity_shape: float = 4.0

    @property
    def span(self) -> float:
        """Length of the log in seconds."""
        return self.days * 86_400.0


@dataclass(frozen=True)
class Regime:
    """How items of one taste are consumed, for as long as this holds.

    Attributes:
        items: indices into the catalogue, shape [n].
        popularity: cumulative, shape [n], last entry 1.
        successors: catalogue index to the catalogue indices that tend to follow it.
    """

    items: IntArray
    popularity: FloatArray
    successors: dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class World:
    """Everything there is to consume.

    Attributes:
        parameters: its size and habits.
        catalogue: every item some scenario knows, in an order that tells nothing of its taste.
        known: taste to its items known from the start, as indices into the catalogue.
        new: taste to the items that can arrive later; the last taste has only such.
        regimes: taste to how it is consumed at set-up; the last one is that of the emerging taste.
    """

    parameters: Parameters
    catalogue: tuple[Item, ...]
    known: tuple[IntArray, ...]
    new: tuple[IntArray, ...]
    regimes: tuple[Regime, ...]


def build_world(parameters: Parameters, rng: np.random.Generator) -> World:
    """Draw items, popularity and successors."""
    known_count = parameters.items_per_taste
    new_count = round(known_count * parameters.new_share)
    count = parameters.tastes * (known_count + new_count) + known_count
    indices = rng.permutation(count)
    known, new, at = [], [], 0
    for _ in range(parameters.tastes):
        known.append(np.sort(indices[at : at + known_count]))
        new.append(np.sort(indices[at + known_count : at + known_count + new_count]))
        at += known_count + new_count
    known.append(np.empty(0, dtype=np.int64))
    new.append(np.sort(indices[at:]))
    regimes = (draw_regime(items, parameters, rng) for items in (*known[:-1], new[-1]))
    catalogue = _catalogue(count, list(zip(known, new, strict=True)), rng)
    return World(parameters, catalogue, tuple(known), tuple(new), tuple(regimes))


def _catalogue(count: int, tastes: list[tuple[IntArray, IntArray]], rng: np.random.Generator) -> tuple[Item, ...]:
    items: dict[int, Item] = {}
    for vocabulary, (known, new) in zip(VOCABULARIES, tastes, strict=True):
        indices = [int(i) for i in (*known, *new)]
        for index, title in zip(indices, _titles(vocabulary, len(indices), rng), strict=True):
            items[index] = Item(f"i{index:04d}", f"{title}. {vocabulary.genre}")
    return tuple(items[index] for index in range(count))


def _titles(vocabulary: Vocabulary, count: int, rng: np.random.Generator) -> list[str]:
    titles = [f"{first} {second}" for first in vocabulary.first for second in vocabulary.second]
    return [titles[i] for i in rng.choice(len(titles), size=count, replace=False)]


def draw_regime(items: IntArray, parameters: Parameters, rng: np.random.Generator) -> Regime:
    """Draw who is popular and what follows what among these items."""
    ranked = rng.permutation(items)
    weights = np.arange(1, len(ranked) + 1, dtype=np.float64) ** -parameters.zipf
    return Regime(ranked, _cumulative(weights), _draw_successors(ranked, ranked, parameters.successors, rng))


def with_arrivals(old: Regime, items: IntArray, parameters: Parameters, rng: np.random.Generator) -> Regime:
    """A regime in which new items take half of the consumption, by popularity and by succession alike."""
    new = draw_regime(items, parameters, rng)
    half = parameters.successors // 2
    both = np.concatenate([old.items, new.items])
    weights = np.concatenate([np.diff(old.popularity, prepend=0.0), np.diff(new.popularity, prepend=0.0)])
    to_new = _draw_successors(both, new.items, half, rng)
    to_old = _draw_successors(new.items, old.items, half, rng) | {i: s[:half] for i, s in old.successors.items()}
    return Regime(both, _cumulative(weights), {i: to_old[i] + to_new[i] for i in to_new})


def _cumulative(weights: FloatArray) -> FloatArray:
    total = np.cumsum(weights / weights.sum())
    total[-1] = 1.0  # Rounding must leave no gap that a draw could fall into.
    return total


def _draw_successors(
    items: IntArray, among: IntArray, count: int, rng: np.random.Generator
) -> dict[int, tuple[int, ...]]:
    return {
        int(item): tuple(int(i) for i in rng.choice(among[among != item], size=count, replace=False)) for item in items
    }
