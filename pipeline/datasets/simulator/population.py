"""Users, and when they are active. The population is stationary: at any moment it is as old and as busy as at another.

Users arrive uniformly in time, some before the log begins, and stay for a share of it. So neither the age of users nor
the length of their histories drifts by itself, once the log is older than the longest life.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.datasets.simulator.world import FloatArray, IntArray, Parameters

SPARE = 1.3
"""Moments drawn for each event wanted: a scenario may silence some users, and all others keep their pace."""


@dataclass(frozen=True)
class Population:
    """Everybody who is around at some time of the log.

    Attributes:
        user_ids: in order of arrival.
        primary: the taste each user prefers at first, shape [users].
        leaves: moment of each user's end, at most that of the log, as a share of the length of the log, shape [users].
    """

    user_ids: tuple[str, ...]
    primary: IntArray
    leaves: FloatArray


@dataclass(frozen=True)
class Schedule:
    """Who is active when, in order of time.

    Attributes:
        users: indices into the population, shape [moments].
        timestamps: whole seconds since 1970, no two the same, shape [moments].
        moments: the same as shares of the length of the log, shape [moments].
    """

    users: IntArray
    timestamps: IntArray
    moments: FloatArray

    def at(self, places: IntArray) -> "Schedule":
        """The part of it at these places, which must increase."""
        return Schedule(self.users[places], self.timestamps[places], self.moments[places])


def draw_population(parameters: Parameters, events: int, rng: np.random.Generator) -> tuple[Population, Schedule]:
    """Draw users and more moments of activity than `events`."""
    before = parameters.longest_life
    count = max(parameters.tastes, round(events / parameters.events_per_life * (1 + before)))
    arrives = np.sort(rng.uniform(-before, 1.0, count))
    leaves = np.minimum(arrives + rng.uniform(parameters.shortest_life, before, count), 1.0)
    arrives = np.maximum(arrives, 0.0)
    activity = rng.gamma(parameters.activity_shape, size=count) * np.maximum(leaves - arrives, 0.0)
    population = Population(tuple(f"u{i:05d}" for i in range(count)), _primary(parameters.tastes, count, rng), leaves)
    users = rng.choice(count, size=round(events * SPARE), p=activity / activity.sum())
    moments = rng.uniform(arrives[users], leaves[users])
    order = np.argsort(moments, kind="stable")
    timestamps = parameters.start + _distinct((moments[order] * parameters.span).astype(np.int64))
    return population, Schedule(users[order], timestamps, (timestamps - parameters.start) / parameters.span)


def _distinct(seconds: IntArray) -> IntArray:
    """Put off whatever falls into a second that is taken. Needs increasing seconds."""
    places = np.arange(len(seconds))
    return np.maximum.accumulate(seconds - places) + places


def _primary(tastes: int, count: int, rng: np.random.Generator) -> IntArray:
    """Every taste in turn, shuffled within each turn: equally many users of each, at any time."""
    turns = -(-count // tastes)
    return np.concatenate([rng.permutation(tastes) for _ in range(turns)])[:count]
