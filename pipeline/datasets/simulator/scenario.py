"""The base of drift scenarios: a stationary world.

A scenario defines for any moment (a share of the length of the log): the silenced users, each user's preference, the
regime of each preference, and whether the world differs from set-up. The recorded truth is derived from it.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pipeline.datasets.simulator.population import Population, Schedule
from pipeline.datasets.simulator.world import IntArray, Parameters, Regime, World

FROM = 0.6
"""Start of a drift, as a share of the events: well after a set-up slice of half the log."""

A, B = 0, 1
"""The preference that drifts, and the one that its users switch to or that drifts next."""


class Scenario:
    """A stationary world; each drift overrides the methods that it changes.

    Args:
        world: preferences and items.
        population: users.
        begins: start of the drift.
        rng: generator for redrawn regimes.
    """

    kind: ClassVar[str] = "quiet"
    silences: ClassVar[bool] = False
    parameters: ClassVar[Parameters] = Parameters()

    def __init__(self, world: World, population: Population, begins: float, rng: np.random.Generator) -> None:
        self.world = world
        self.population = population
        self.begins = begins
        self.rng = rng

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """Periods in which the world differs from set-up: start, end (excluded; infinite: until the end of the log)."""
        return ((self.begins, math.inf),)

    def items(self, moment: float) -> IntArray:  # noqa: ARG002
        """Items affected, as indices into the catalogue."""
        return np.empty(0, dtype=np.int64)

    @property
    def announced(self) -> Mapping[int, float]:
        """Items announced before they are taken: index into the catalogue to the moment from which they exist."""
        return {}

    @property
    def ends(self) -> Mapping[int, float]:
        """Items that end: index into the catalogue to the moment from which they exist no longer."""
        return {}

    def is_on(self, moment: float) -> bool:
        """Return True in a period in which the world differs from set-up."""
        return any(start <= moment < end for start, end in self.periods)

    def users(self, schedule: Schedule) -> set[int]:
        """Return the affected users of this part of the log."""
        users, moments = schedule.users.tolist(), schedule.moments.tolist()
        return {user for user, moment in zip(users, moments, strict=True) if self.affects(user, moment)}

    def affects(self, user: int, moment: float) -> bool:
        """Return True if the drift changes this user's behaviour at this moment."""
        return self.is_on(moment) and bool(self.population.primary[user] == A)

    def primary(self, user: int, moment: float) -> int:  # noqa: ARG002
        """Return the user's primary preference."""
        return int(self.population.primary[user])

    def preferences(self, moment: float) -> range:  # noqa: ARG002
        """Return the preferences that occasional events are drawn from."""
        return range(self.world.parameters.preferences)

    def regime(self, preference: int, moment: float) -> Regime:  # noqa: ARG002
        """Return the regime of the preference."""
        return self.world.regimes[preference]


class Quiet(Scenario):
    """A log without drift."""

    @property
    def periods(self) -> tuple[tuple[float, float], ...]:
        """An empty tuple."""
        return ()
