"""The drifts: how each scenario departs from a world that stays as it is.

A scenario answers, for any moment (as a share of the length of the log): who is silent, what a user prefers, how a
taste is consumed, and whether all that is unlike set-up. The truth is what it answered.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import numpy as np

from pipeline.datasets.simulator.population import Population, Schedule
from pipeline.datasets.simulator.world import IntArray, Regime, World, draw_regime, with_arrivals

FROM = 0.6
"""Where a drift begins, as a share of the events: well after a set-up slice of half the log."""

RAMP = 0.05
"""Over which a gradual drift reaches everybody, as a share of the length of the log."""

RECURRING = ((0.55, 0.65), (0.8, 0.9))
"""When a recurring drift is on, as shares of the length of the log."""

TWO = (0.55, 0.7)
"""When taste A and then taste B changes, as shares of the length of the log."""

EVERY = (0.55, 0.62, 0.69, 0.76, 0.83, 0.9)
"""When each taste in its turn changes, likewise."""

EMERGING_SHARE = 1 / 3
"""Of the users, who take to the emerging taste."""

A, B = 0, 1
"""The taste that drifts, and the one its users turn to, or that drifts next."""


class Scenario:
    """A world that stays as it is; the drifts override what they change.

    Args:
        world: tastes and items.
        population: users.
        begins: moment the drift begins.
        rng: for what is drawn anew.
    """

    kind: ClassVar[str] = "quiet"
    silences: ClassVar[bool] = False

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        self.world = world
        self.population = population
        self.begins = begins
        self.rng = rng

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """When the world is unlike set-up: from, until (not included; infinite: it stays so)."""
        return ((self.begins, math.inf),)

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Items affected, as indices into the catalogue."""
        return np.empty(0, dtype=np.int64)

    def is_on(self, moment: float) -> bool:
        """Whether the world is unlike set-up."""
        return any(start <= moment < end for start, end in self.periods)

    def users(self, schedule: Schedule) -> set[int]:
        """Users of this part of the log who are affected."""
        users, moments = schedule.users.tolist(), schedule.moments.tolist()
        return {user for user, moment in zip(users, moments, strict=True) if self.affects(user, moment)}

    def affects(self, user: int, moment: float) -> bool:
        """Whether this user would act otherwise, had nothing drifted."""
        return self.is_on(moment) and bool(self.population.primary[user] == A)

    def primary(self, user: int, moment: float) -> int:  # noqa: ARG002
        """The taste the user prefers."""
        return int(self.population.primary[user])

    def tastes(self, moment: float) -> range:  # noqa: ARG002
        """The tastes anybody can have a whim for."""
        return range(self.world.parameters.tastes)

    def regime(self, taste: int, moment: float) -> Regime:  # noqa: ARG002
        """How the taste is consumed."""
        return self.world.regimes[taste]


class Quiet(Scenario):
    """Nothing drifts."""

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """Never."""
        return ()


class Sudden(Scenario):
    """Users of taste A prefer the known taste B, all at once."""

    kind = "sudden"

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Those left and those turned to."""
        return np.concatenate([self.world.known[A], self.world.known[B]])

    def primary(self, user: int, moment: float) -> int:
        """B instead of A."""
        return B if self.affects(user, moment) else super().primary(user, moment)


class Gradual(Sudden):
    """Users of taste A turn to B one after the other."""

    kind = "gradual"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._switches = begins + RAMP * rng.uniform(size=len(population.user_ids))

    def affects(self, user: int, moment: float) -> bool:
        """From the user's own switch on."""
        return super().affects(user, moment) and moment >= self._switches[user]


class OneRegion(Scenario):
    """Within taste A, popularity and succession are drawn anew; the items stay."""

    kind = "one_region"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._other = draw_regime(world.known[A], world.parameters, rng)

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Those of A."""
        return self.world.known[A]

    def regime(self, taste: int, moment: float) -> Regime:
        """The other one for A."""
        return self._other if taste == A and self.is_on(moment) else super().regime(taste, moment)


class TwoRegions(Scenario):
    """Taste A is drawn anew and stays so, and later taste B as well."""

    kind = "two_regions"
    changes: ClassVar[tuple[float, ...]] = TWO

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._redrawn = [draw_regime(world.known[taste], world.parameters, rng) for taste in range(len(self.changes))]

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """From each change to the next."""
        return tuple(pairwise((*self.changes, math.inf)))

    def items(self, moment: float) -> IntArray:
        """Those of the tastes that have changed by then."""
        return np.concatenate([self.world.known[taste] for taste in range(self._changed(moment))])

    def affects(self, user: int, moment: float) -> bool:
        """Those whose taste has changed by then."""
        return bool(self.population.primary[user] < self._changed(moment))

    def regime(self, taste: int, moment: float) -> Regime:
        """The other one for what has changed by then."""
        return self._redrawn[taste] if taste < self._changed(moment) else super().regime(taste, moment)

    def _changed(self, moment: float) -> int:
        """How many tastes have changed, the first ones."""
        return bisect_right(self.changes, moment)


class EveryRegion(TwoRegions):
    """One taste after the other is drawn anew and stays so, until none is as in set-up."""

    kind = "every_region"
    changes = EVERY


class Recurring(OneRegion):
    """The same other regime of taste A comes, goes and comes back."""

    kind = "recurring"

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """On, off, on."""
        return RECURRING


class Emerging(Scenario):
    """A taste nobody ever had takes over a third of the users."""

    kind = "emerging"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        self._converts = rng.uniform(size=len(population.user_ids)) < EMERGING_SHARE

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Those of the new taste."""
        return self.world.new[-1]

    def affects(self, user: int, moment: float) -> bool:
        """Those who take to it."""
        return self.is_on(moment) and bool(self._converts[user])

    def primary(self, user: int, moment: float) -> int:
        """The new taste, which is the last one."""
        return self.world.parameters.tastes if self.affects(user, moment) else super().primary(user, moment)

    def tastes(self, moment: float) -> range:
        """One more than before."""
        return range(self.world.parameters.tastes + self.is_on(moment))


class Vanishing(Scenario):
    """Users of taste A fall silent, no new ones arrive, and nobody else takes items of A."""

    kind = "vanishing"
    silences = True

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Those of A."""
        return self.world.known[A]

    def users(self, schedule: Schedule) -> set[int]:
        """Those of A who would have stayed; they were seen before the drift or never."""
        seen = np.unique(schedule.users)
        stayed = (self.population.primary[seen] == A) & (self.population.leaves[seen] > self.begins)
        return set(seen[stayed].tolist())

    def tastes(self, moment: float) -> range:
        """All but A, which is the first."""
        return range(A + 1 if self.is_on(moment) else 0, self.world.parameters.tastes)


class NewItems(Scenario):
    """New items arrive in every taste and take half of its consumption."""

    kind = "new_items"

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        super().__init__(world, population, begins, rng)
        arrivals = zip(world.regimes[:-1], world.new[:-1], strict=True)
        self._renewed = [with_arrivals(old, new, world.parameters, rng) for old, new in arrivals]

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """The new ones of every taste."""
        return np.concatenate(self.world.new[:-1])

    def affects(self, user: int, moment: float) -> bool:  # noqa: ARG002
        """Everybody."""
        return self.is_on(moment)

    def regime(self, taste: int, moment: float) -> Regime:
        """With the new items."""
        return self._renewed[taste] if self.is_on(moment) else super().regime(taste, moment)


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
    )
}
"""Every scenario, by name."""
