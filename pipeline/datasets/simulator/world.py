"""The simulated catalogue: items of each preference, their popularity and their successors.

A *preference* is a group of items of one genre; each user has a primary one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.datasets.simulator.vocabulary import VOCABULARIES, Vocabulary
from pipeline.events.item import Item

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """Size of the simulated world and behaviour of its users.

    Attributes:
        preferences: number of initial preferences (one more can emerge).
        items_per_preference: number of initial items of each.
        new_share: items that can arrive later in a preference, as a share of `items_per_preference`.
        zipf: popularity of the r-th item of a preference is proportional to r ** -zipf.
        successors: number of likely successors of an item.
        follow: probability that the next item is a successor of the user's last one of that preference.
        primary_share: share of events in the user's primary preference; the others are uniform over preferences.
        recent: number of a user's last items that are not consumed again.
        start: first moment of the log, in seconds since 1970.
        days: length of the log.
        shortest_life: shortest activity period of a user, as a share of the length of the log.
        longest_life: longest one, likewise.
        events_per_life: mean number of events of a user whose whole activity period lies in the log.
        activity_shape: shape of the gamma distribution of the users' activity; larger is more even.
        session: mean number of events that a user has in a row.
        pause: mean time between two of these, in seconds.
        repeat: probability that the next item is one that the user took before, newer ones first.
    """

    preferences: int = 6
    items_per_preference: int = 60
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
    session: float = 1.0
    pause: float = 90.0
    repeat: float = 0.0

    @property
    def span(self) -> float:
        """Length of the log in seconds."""
        return self.days * 86_400.0


@dataclass(frozen=True)
class Regime:
    """Popularity and succession of one preference's items over a period.

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
    """Items of all scenarios, and their initial regimes.

    Attributes:
        parameters: size and behaviour.
        catalogue: every item of any scenario, in an order independent of its preference.
        known: initial items of each preference, as indices into the catalogue.
        new: items of each preference that can arrive later; those of the last preference are all new.
        regimes: initial regime of each preference; the last one is that of the emerging preference.
    """

    parameters: Parameters
    catalogue: tuple[Item, ...]
    known: tuple[IntArray, ...]
    new: tuple[IntArray, ...]
    regimes: tuple[Regime, ...]


def build_world(parameters: Parameters, rng: np.random.Generator) -> World:
    """Draw items, popularity and successors."""
    known_count = parameters.items_per_preference
    new_count = round(known_count * parameters.new_share)
    count = parameters.preferences * (known_count + new_count) + known_count
    indices = rng.permutation(count)
    known, new, at = [], [], 0
    for _ in range(parameters.preferences):
        known.append(np.sort(indices[at : at + known_count]))
        new.append(np.sort(indices[at + known_count : at + known_count + new_count]))
        at += known_count + new_count
    known.append(np.empty(0, dtype=np.int64))
    new.append(np.sort(indices[at:]))
    regimes = (draw_regime(items, parameters, rng) for items in (*known[:-1], new[-1]))
    catalogue = _catalogue(count, list(zip(known, new, strict=True)), rng)
    return World(parameters, catalogue, tuple(known), tuple(new), tuple(regimes))


def _catalogue(count: int, preferences: list[tuple[IntArray, IntArray]], rng: np.random.Generator) -> tuple[Item, ...]:
    items: dict[int, Item] = {}
    for vocabulary, (known, new) in zip(VOCABULARIES, preferences, strict=True):
        indices = [int(i) for i in (*known, *new)]
        for index, title in zip(indices, _titles(vocabulary, len(indices), rng), strict=True):
            items[index] = Item(f"i{index:04d}", f"{title}. {vocabulary.genre}")
    return tuple(items[index] for index in range(count))


def _titles(vocabulary: Vocabulary, count: int, rng: np.random.Generator) -> list[str]:
    titles = [f"{first} {second}" for first in vocabulary.first for second in vocabulary.second]
    editions = -(-count // len(titles))
    titles += [f"{title} {edition}" for edition in range(2, editions + 1) for title in titles[:]]
    return [titles[i] for i in rng.choice(len(titles), size=count, replace=False)]


def draw_regime(items: IntArray, parameters: Parameters, rng: np.random.Generator) -> Regime:
    """Draw popularity and successors of these items."""
    ranked = rng.permutation(items)
    weights = np.arange(1, len(ranked) + 1, dtype=np.float64) ** -parameters.zipf
    return Regime(ranked, cumulative(weights), _draw_successors(ranked, ranked, parameters.successors, rng))


def with_arrivals(old: Regime, items: IntArray, parameters: Parameters, rng: np.random.Generator) -> Regime:
    """Return a regime in which new items receive half of the consumption, in popularity and in succession."""
    new = draw_regime(items, parameters, rng)
    half = parameters.successors // 2
    both = np.concatenate([old.items, new.items])
    weights = np.concatenate([np.diff(old.popularity, prepend=0.0), np.diff(new.popularity, prepend=0.0)])
    to_new = _draw_successors(both, new.items, half, rng)
    to_old = _draw_successors(new.items, old.items, half, rng) | {i: s[:half] for i, s in old.successors.items()}
    return Regime(both, cumulative(weights), {i: to_old[i] + to_new[i] for i in to_new})


def cumulative(weights: FloatArray) -> FloatArray:
    """(n,) cumulative shares of (n,) weights, the last one 1."""
    total = np.cumsum(weights / weights.sum())
    total[-1] = 1.0  # Rounding could leave it below 1, and a draw above it would have no item.
    return total


def _draw_successors(
    items: IntArray, among: IntArray, count: int, rng: np.random.Generator
) -> dict[int, tuple[int, ...]]:
    return {
        int(item): tuple(int(i) for i in rng.choice(among[among != item], size=count, replace=False)) for item in items
    }
