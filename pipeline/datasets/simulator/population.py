"""Simulated users and their times of activity: a stationary population.

Users arrive uniformly in time, some before the log begins, and stay for a share of it. So neither the age of users nor
the length of their histories drifts by itself, once the log is older than the longest activity period.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.datasets.simulator.world import FloatArray, IntArray, Parameters

SPARE = 1.3
"""Moments drawn per requested event: a scenario may silence some users without changing the rate of the others."""


@dataclass(frozen=True)
class Population:
    """Users who are active at some time of the log.

    Attributes:
        user_ids: in order of arrival.
        primary: initial primary preference of each user, shape [users].
        leaves: end of each user's activity, as a share of the length of the log, at most 1, shape [users].
    """

    user_ids: tuple[str, ...]
    primary: IntArray
    leaves: FloatArray


@dataclass(frozen=True)
class Schedule:
    """Times of activity, one user each, in order of time.

    Attributes:
        users: indices into the population, shape [moments].
        timestamps: distinct whole seconds since 1970, shape [moments].
        moments: `timestamps` as shares of the length of the log, shape [moments].
    """

    users: IntArray
    timestamps: IntArray
    moments: FloatArray

    def at(self, indices: IntArray) -> "Schedule":
        """Return the entries at these indices, which must increase."""
        return Schedule(self.users[indices], self.timestamps[indices], self.moments[indices])


def draw_population(parameters: Parameters, events: int, rng: np.random.Generator) -> tuple[Population, Schedule]:
    """Draw users and `SPARE` times as many moments of activity as `events`."""
    before = parameters.longest_life
    count = max(parameters.preferences, round(events / parameters.events_per_life * (1 + before)))
    arrives = np.sort(rng.uniform(-before, 1.0, count))
    leaves = np.minimum(arrives + rng.uniform(parameters.shortest_life, before, count), 1.0)
    arrives = np.maximum(arrives, 0.0)
    activity = rng.gamma(parameters.activity_shape, size=count) * np.maximum(leaves - arrives, 0.0)
    population = Population(
        tuple(f"u{i:05d}" for i in range(count)), _primary(parameters.preferences, count, rng), leaves
    )
    wanted = round(events * SPARE)
    users = rng.choice(count, size=round(wanted / parameters.session), p=activity / activity.sum())
    moments = rng.uniform(arrives[users], leaves[users])
    if parameters.session > 1.0:
        users, moments = _in_sessions(users, moments, parameters, rng)
    order = np.argsort(moments, kind="stable")
    timestamps = parameters.start + _distinct((moments[order] * parameters.span).astype(np.int64))
    return population, Schedule(users[order], timestamps, (timestamps - parameters.start) / parameters.span)


def _in_sessions(
    users: IntArray, begins: FloatArray, parameters: Parameters, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Users and moments of the events of sessions that begin at these moments; none is after the end of the log."""
    sizes = rng.geometric(1.0 / parameters.session, len(users))
    pauses = rng.exponential(parameters.pause / parameters.span, int(sizes.sum()))
    first = np.cumsum(sizes) - sizes
    pauses[first] = 0.0
    since_first = np.cumsum(pauses)
    moments = np.repeat(begins - since_first[first], sizes) + since_first
    inside = moments < 1.0
    return np.repeat(users, sizes)[inside], moments[inside]


def _distinct(seconds: IntArray) -> IntArray:
    """Delay entries of an increasing array until all seconds are distinct."""
    indices = np.arange(len(seconds))
    return np.maximum.accumulate(seconds - indices) + indices


def _primary(preferences: int, count: int, rng: np.random.Generator) -> IntArray:
    """Assign preferences in shuffled rounds: equally many users of each preference, at any time."""
    turns = -(-count // preferences)
    return np.concatenate([rng.permutation(preferences) for _ in range(turns)])[:count]
