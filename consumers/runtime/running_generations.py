"""Generations whose stages run on this machine, by what the log says."""

from collections.abc import Callable

from consumers.runtime.generations import create_active_topics, read_generations
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.generation import Generation, Generations, State
from pipeline.streams.interface import Log

LOOK = 0.5
"""Seconds between two looks."""


class RunningGenerations:
    """Follows the generations of a log, which may be out of reach: then the last state counts.

    Args:
        open_log: opens the log; it is opened again after an error.
        config: sections `refresh` and `log`.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
        say: shows a status line.
        is_due: called at each look; True while a refresh should run.

    Attributes:
        refresh_is_due: what it returned last.
    """

    def __init__(
        self,
        open_log: Callable[[], Log],
        config: Config,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        say: Callable[[str], None],
        is_due: Callable[[Log, Generations], bool] = lambda *_: False,
    ) -> None:
        self.refresh_is_due = False
        self._is_due = is_due
        self._open, self._config, self._clock, self._wall_clock, self._say = open_log, config, clock, wall_clock, say
        self._log: Log | None = None
        self._due, self._problem = clock(), ""
        self._known: Generations | None = None

    def __call__(self) -> list[Generation]:
        """Return those that answer, run in the shadow, or answered until a moment ago; none before the log is read."""
        if self._clock() >= self._due:
            self._due = self._clock() + LOOK
            self._look()
        return [] if self._known is None else [*self._known.running, *self._lingering(self._known)]

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _look(self) -> None:
        try:
            if self._log is None:
                self._log = self._open()
                create_active_topics(self._log, self._config.log.partitions)
            self._known, self._problem = read_generations(self._log), ""
            self.refresh_is_due = self._is_due(self._log, self._known)
        except (LogError, OSError) as error:
            self.close()
            if str(error) != self._problem:
                self._problem = str(error)
                self._say(f"{error}; trying again")

    def _lingering(self, known: Generations) -> list[Generation]:
        """The generation that was switched from, for as long as servers need to load the other one."""
        before = known.all.get(known.before or 0)
        if before is None or before.state is not State.STANDBY:
            return []
        return [before] if self._wall_clock() - before.since < self._config.refresh.linger else []
