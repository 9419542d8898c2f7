"""Drift scenarios of the simulator, each an override of a stationary world."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import numpy as np

from pipeline.datasets.simulator.population import Population, Schedule
from pipeline.datasets.simulator.scenario import A, B, Quiet, Scenario
from pipeline.datasets.simulator.shapes import News, Sessions, Stationary
from pipeline.datasets.simulator.world import IntArray, Regime, World, draw_regime, with_arrivals

RAMP = 0.05
"""Duration of a gradual drift, as a share of the length of the log."""

RECURRING = ((0.55, 0.65), (0.8, 0.9))
"""Periods of a recurring drift, as shares of the length of the log."""

TWO = (0.55, 0.7)
"""Moments at which preference A and then preference B changes, as shares of the length of the log."""

EVERY = (0.55, 0.62, 0.69, 0.76, 0.83, 0.9)
"""Moments at which the preferences change, one after the other, likewise."""

WAVES = (0.6, 0.7, 0.8, 0.9)
"""Moments at which announced items begin to be taken, likewise."""

LEAD = 0.05
"""Time from the announcement of items to their wave, likewise."""

EMERGING_SHARE = 1 / 3
"""Share of the users who adopt the emerging preference."""


class Sudden(Scenario):
    """Users of preference A switch to the known preference B at the same moment."""

    kind = "sudden"

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Return the items of A and of B."""
        return np.concatenate([self.world.known[A], self.world.known[B]])

    def primary(self, user: int, moment: float) -> int:
        """Return B instead of A."""
        return B if self.affects(user, moment) else super().primary(user, moment)


class Gradual(Sudden):
    """Users of preference A switch to B one after the other."""

    kind = "gradual"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._switches = begins + RAMP * rng.uniform(size=len(population.user_ids))

    def affects(self, user: int, moment: float) -> bool:
        """Return True from the user's own switch on."""
        return super().affects(user, moment) and moment >= self._switches[user]


class OneRegion(Scenario):
    """Popularity and succession within preference A are redrawn; its items stay."""

    kind = "one_region"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._other = draw_regime(world.known[A], world.parameters, rng)

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Return the items of A."""
        return self.world.known[A]

    def regime(self, preference: int, moment: float) -> Regime:
        """Return the redrawn regime for A while the drift is on."""
        return self._other if preference == A and self.is_on(moment) else super().regime(preference, moment)


class TwoRegions(Scenario):
    """Preference A is redrawn for good, and later preference B as well."""

    kind = "two_regions"
    changes: ClassVar[tuple[float, ...]] = TWO

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._redrawn = [
            draw_regime(world.known[preference], world.parameters, rng) for preference in range(len(self.changes))
        ]

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """One period from each change to the next."""
        return tuple(pairwise((*self.changes, math.inf)))

    def items(self, moment: float) -> IntArray:
        """Return the items of the preferences that have changed by then."""
        return np.concatenate([self.world.known[preference] for preference in range(self._changed(moment))])

    def affects(self, user: int, moment: float) -> bool:
        """Return True if the user's preference has changed by then."""
        return bool(self.population.primary[user] < self._changed(moment))

    def regime(self, preference: int, moment: float) -> Regime:
        """Return the redrawn regime if the preference has changed by then."""
        return self._redrawn[preference] if preference < self._changed(moment) else super().regime(preference, moment)

    def _changed(self, moment: float) -> int:
        """Return the number of preferences changed by then; they are the first ones."""
        return bisect_right(self.changes, moment)


class EveryRegion(TwoRegions):
    """The preferences are redrawn for good one after the other, until none is as in set-up."""

    kind = "every_region"
    changes = EVERY


class Recurring(OneRegion):
    """A second regime of preference A replaces the first in two separate periods."""

    kind = "recurring"

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """Two periods."""
        return RECURRING


class Emerging(Scenario):
    """A third of the users adopt a preference without earlier users."""

    kind = "emerging"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._converts = rng.uniform(size=len(population.user_ids)) < EMERGING_SHARE

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Return the items of the new preference."""
        return self.world.new[-1]

    def affects(self, user: int, moment: float) -> bool:
        """Return True for users who adopt it, from its start on."""
        return self.is_on(moment) and bool(self._converts[user])

    def primary(self, user: int, moment: float) -> int:
        """Return the new preference, which is the last one, for its users."""
        return self.world.parameters.preferences if self.affects(user, moment) else super().primary(user, moment)

    def preferences(self, moment: float) -> range:
        """Return one preference more than before."""
        return range(self.world.parameters.preferences + self.is_on(moment))


class Vanishing(Scenario):
    """Users of preference A stop, no new ones arrive, and the other users consume no items of A."""

    kind = "vanishing"
    silences = True

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Return the items of A."""
        return self.world.known[A]

    def users(self, schedule: Schedule) -> set[int]:
        """Return the users of A, seen in the schedule, whose activity period extends beyond the start."""
        seen = np.unique(schedule.users)
        stayed = (self.population.primary[seen] == A) & (self.population.leaves[seen] > self.begins)
        return set(seen[stayed].tolist())

    def preferences(self, moment: float) -> range:
        """Return all preferences but A, which is the first."""
        return range(A + 1 if self.is_on(moment) else 0, self.world.parameters.preferences)


class NewItems(Scenario):
    """New items arrive in every preference and receive half of its consumption."""

    kind = "new_items"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        arrivals = zip(world.regimes[:-1], world.new[:-1], strict=True)
        self._renewed = [with_arrivals(old, new, world.parameters, rng) for old, new in arrivals]

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Return the new items of every preference."""
        return np.concatenate(self.world.new[:-1])

    def affects(self, user: int, moment: float) -> bool:  # noqa: ARG002
        """Return True for every user while the drift is on."""
        return self.is_on(moment)

    def regime(self, preference: int, moment: float) -> Regime:
        """Return the regime with the new items while the drift is on."""
        return self._renewed[preference] if self.is_on(moment) else super().regime(preference, moment)


class Announced(Scenario):
    """New items come in waves in every preference, each announced beforehand; half of every wave are never taken.

    The others receive half of the consumption of their preference until the next wave, less what the rule leaves out
    that nobody takes a recent item again: so few items get a quarter to a third.
    """

    kind = "announced"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._waves: list[IntArray] = []
        self._renewed: list[list[Regime]] = []
        parts = [np.array_split(rng.permutation(new), 2 * len(WAVES)) for new in world.new[:-1]]
        regimes = list(world.regimes[:-1])
        for wave in range(len(WAVES)):
            self._waves.append(np.concatenate([part for of in parts for part in of[2 * wave : 2 * wave + 2]]))
            taken = [of[2 * wave] for of in parts]
            regimes = [with_arrivals(old, new, world.parameters, rng) for old, new in zip(regimes, taken, strict=True)]
            self._renewed.append(regimes)

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """One period from each wave to the next."""
        return tuple(pairwise((*WAVES, math.inf)))

    @property
    def announced(self) -> Mapping[int, float]:
        """Every new item exists from some time before its wave."""
        waves = zip(self._waves, WAVES, strict=True)
        return {int(item): moment - LEAD for items, moment in waves for item in items}

    def items(self, moment: float) -> IntArray:
        """Return the items of the waves so far, taken or not."""
        return np.concatenate(self._waves[: bisect_right(WAVES, moment)])

    def affects(self, user: int, moment: float) -> bool:  # noqa: ARG002
        """Return True for every user from the first wave on."""
        return self.is_on(moment)

    def regime(self, preference: int, moment: float) -> Regime:
        """Return the regime with the items of the waves so far."""
        wave = bisect_right(WAVES, moment)
        return self._renewed[wave - 1][preference] if wave else super().regime(preference, moment)


SCENARIOS: Mapping[str, type[Scenario]] = {
    scenario.kind: scenario
    for scenario in (
        Quiet,
        Sudden,
        Gradual,
        Recurring,
        OneRegion,
        TwoRegions,
        EveryRegion,
        Emerging,
        Vanishing,
        NewItems,
        Announced,
        Stationary,
        Sessions,
        News,
    )
}
"""Scenarios by name."""
