"""Run of one strategy over the stream of a replay, with the seconds of its phases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.evaluation.protocols import Plan
from pipeline.strategies.base import Scored, Strategy

Clock = Callable[[], float]
"""Seconds since a fixed moment."""


class Stopwatch:
    """Seconds of each strategy in each phase; trainings shared with an earlier strategy count in full."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = clock()
        self._seconds: dict[str, dict[str, float]] = {}
        self._spared = 0.0

    @property
    def total(self) -> float:
        """Seconds since the stopwatch was created."""
        return self._clock() - self._begun

    @contextmanager
    def phase(self, strategy: str, phase: str) -> Iterator[None]:
        """Add the seconds of the context to a phase of a strategy."""
        begun = self.spent()
        yield
        phases = self._seconds.setdefault(strategy, {})
        phases[phase] = phases.get(phase, 0.0) + self.spent() - begun

    def take(self, strategy: str) -> dict[str, float]:
        """Seconds of a strategy by phase since they were taken last."""
        return self._seconds.pop(strategy, {})

    def spent(self) -> float:
        """Seconds since a fixed moment, plus those of skipped trainings."""
        return self._clock() + self._spared

    def spare(self, seconds: float) -> None:
        """Add the seconds of a training that was taken from the cache."""
        self._spared += seconds


def run_strategy(
    strategy: Strategy, plan: Plan, intervals: int, stopwatch: Stopwatch, progress: Callable[[int, int], None]
) -> dict[str, Scored]:
    """Run a strategy over the stream, learning after each update interval, then score the final slices.

    Args:
        strategy: new.
        plan: of the replay.
        intervals: number of update intervals.
        stopwatch: records the seconds of each phase.
        progress: receives the number of intervals and slices done.

    Returns:
        Ranks by slice, in the order of `plan.by_slice`.
    """
    stream = plan.update_intervals(intervals)
    steps = len(stream) + len(plan.scored)
    observed: list[Scored] = []
    for done, interval in enumerate(stream):
        progress(done, steps)
        with stopwatch.phase(strategy.name, "observe"):
            observed.append(strategy.observe(interval))
        with stopwatch.phase(strategy.name, "learn"):
            strategy.learn()
    ranked = _by_slice(Scored.joined(observed), plan)
    for done, (name, windows) in enumerate(plan.scored.items(), start=len(stream)):
        progress(done, steps)
        with stopwatch.phase(strategy.name, "score"):
            ranked[name] = strategy.score(windows)
    progress(steps, steps)
    return ranked


def _by_slice(scored: Scored, plan: Plan) -> dict[str, Scored]:
    """Cut the ranks of the stream at the ends of its slices."""
    ranked, start = {}, 0
    for name, windows in plan.observed.items():
        rows = slice(start, start + len(windows))
        ranked[name] = Scored(
            scored.ranks[rows],
            None if scored.regions is None else scored.regions[rows],
            None if scored.confidence is None else scored.confidence[rows],
        )
        start += len(windows)
    return ranked
