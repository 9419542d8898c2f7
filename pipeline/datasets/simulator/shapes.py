"""Shapes of logs: worlds without drift that differ in how items and users behave."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pipeline.datasets.simulator.population import Population
from pipeline.datasets.simulator.scenario import Quiet
from pipeline.datasets.simulator.world import IntArray, Parameters, Regime, World, cumulative

DAYS = 60
"""Length of a log of news."""

ALIVE = 12
"""News of a preference that live at the same time, more than a user avoids to read again."""

FADES = 3.0
"""Logarithm of the popularity that news lose in their life."""

NEAR = 4
"""Likely successors of news are among so many that come before or after it."""


class Stationary(Quiet):
    """A dense log: few items, long histories, and nothing that changes."""

    kind = "stationary"
    parameters = Parameters(items_per_preference=25, events_per_life=240.0)


class Sessions(Quiet):
    """Users come for several events in a row, and two in five of these return to an item that the user took before."""

    kind = "sessions"
    parameters = Parameters(session=6.0, repeat=0.4)


class News(Quiet):
    """Every item lives for a day, and is taken less and less in its course."""

    kind = "news"
    parameters: ClassVar[Parameters] = Parameters(items_per_preference=ALIVE * (DAYS + 1), new_share=0.0, days=DAYS)

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        # As many live in the first day as in any other: the first ones were born before the log begins.
        self._life = 1.0 / DAYS
        self._items = [rng.permutation(items) for items in world.known[:-1]]
        number = len(self._items[0])
        self._born = np.arange(1 - ALIVE, number + 1 - ALIVE) * (self._life / ALIVE)
        self._worth = rng.pareto(1.5, (len(self._items), number)) + 0.2
        self._next = rng.integers(1, NEAR + 1, (len(self._items), number, world.parameters.successors))
        self._next *= rng.choice([-1, 1], self._next.shape)
        self._regimes: dict[tuple[int, int], Regime] = {}

    @property
    def announced(self) -> Mapping[int, float]:
        """Every item exists from its birth."""
        born = np.maximum(self._born, 0.0).tolist()
        return {int(item): moment for items in self._items for item, moment in zip(items, born, strict=True)}

    @property
    def ends(self) -> Mapping[int, float]:
        """Every item ends a day later."""
        ends = (self._born + self._life).tolist()
        return {int(item): moment for items in self._items for item, moment in zip(items, ends, strict=True)}

    def regime(self, preference: int, moment: float) -> Regime:
        """Return the regime of the items that live."""
        newest = int(np.searchsorted(self._born, moment, side="right")) - 1
        if (preference, newest) not in self._regimes:
            self._regimes[preference, newest] = self._regime(
                preference, np.arange(max(newest - ALIVE + 1, 0), newest + 1)
            )
        return self._regimes[preference, newest]

    def _regime(self, preference: int, places: IntArray) -> Regime:
        items = self._items[preference]
        age = (places[-1] - places) / ALIVE
        popularity = self._worth[preference, places] * np.exp(-FADES * age)
        order = np.argsort(-popularity, kind="stable")
        alive = set(places.tolist())
        near = places[:, None] + self._next[preference, places]
        successors = {
            int(items[place]): tuple(int(items[of]) for of in row if of in alive)
            for place, row in zip(places.tolist(), near.tolist(), strict=True)
        }
        return Regime(items[places[order]], cumulative(popularity[order]), successors)
