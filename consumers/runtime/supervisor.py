"""Supervisor of processes: each is restarted when it dies, and all are ended together."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event

from pipeline.errors import RaieError
from pipeline.streams.interface import FencedError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a process that died is started again; doubled each time, up to the longest."""

STABLE = 60.0
"""Seconds of running after which the pause before a restart is the first one again."""

PATIENCE = 20.0
"""Seconds that a process has to stop before it is killed."""

DUEL = 3
"""Number of times in a row that a process ends so before the supervisor gives way."""


@dataclass
class Supervised:
    """One process that is kept running.

    Attributes:
        command: starts it.
        process: the running one, or the last.
        started: monotonic time of its start.
        again: monotonic time of the next start, 0 if none is due.
        pause: seconds before the restart after this one.
        restarts: number of restarts.
        fenced: number of times in a row that another process of its name replaced it.
    """

    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    again: float = 0.0
    pause: float = FIRST_PAUSE
    restarts: int = 0
    fenced: int = 0


class Supervisor:
    """Keeps processes running.

    Args:
        commands: command line of each process, by name.
        clock: monotonic seconds.
        environment: variables of the processes beside those of this one, which take precedence.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        clock: Callable[[], float],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._processes = {name: Supervised(command) for name, command in commands.items()}
        self._ending: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
        self._clock = clock
        self._environment = {**(environment or {}), **os.environ}

    def keep(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Keep these processes running from now on: the others are asked to end, new ones are started."""
        for name in self._processes.keys() - commands.keys():
            one = self._processes.pop(name)
            if one.process is not None and one.process.poll() is None:
                one.process.terminate()
                self._ending[name] = one.process, self._clock() + PATIENCE
        for name, command in commands.items():
            if name not in self._processes and name not in self._ending:
                self._processes[name] = Supervised(command)

    def run(self, stop: Event, show: Callable[[Mapping[str, str]], None], interval: float = 0.5) -> None:
        """Keep all processes running until `stop` is set, then end them.

        Args:
            stop: ends the supervision.
            show: called with the state of each process in words, by name.
            interval: seconds between two checks.

        Raises:
            RaieError: other processes of the same names run on this log.
        """
        try:
            while not stop.is_set():
                self._reap()
                for one in self._processes.values():
                    self._check(one)
                show({name: self._state(one) for name, one in self._processes.items()})
                stop.wait(interval)
        finally:
            self._end()

    def _reap(self) -> None:
        """Forget the processes that have ended as they were asked to; kill those that have not in time."""
        for name, (process, deadline) in list(self._ending.items()):
            if process.poll() is not None:
                del self._ending[name]
            elif self._clock() >= deadline:
                process.kill()

    def _check(self, one: Supervised) -> None:
        now = self._clock()
        if one.process is None:
            self._start(one, now)
        elif one.process.poll() is None:
            if now - one.started >= STABLE:
                one.pause, one.fenced = FIRST_PAUSE, 0
        elif not one.again:
            self._give_way(one)
            one.again = now + one.pause
            one.pause = min(2 * one.pause, LONGEST_PAUSE)
        elif now >= one.again:
            one.restarts += 1
            self._start(one, now)

    @staticmethod
    def _give_way(one: Supervised) -> None:
        """Count an end; a broker may fence a process once that was slow, and no more often."""
        assert one.process is not None
        one.fenced = one.fenced + 1 if one.process.poll() == FencedError.exit_status else 0
        if one.fenced >= DUEL:
            raise RaieError(
                "other processes of the same names run on this log and replace these again and again: stop the other "
                "`raie up`, or run stages beside it by hand, each with an --instance of its own"
            )

    def _start(self, one: Supervised, now: float) -> None:
        # A session of its own: an interrupt from the terminal reaches only the supervisor, which ends them in order.
        one.process = subprocess.Popen(one.command, start_new_session=True, env=self._environment)
        one.started, one.again = now, 0.0

    def _state(self, one: Supervised) -> str:
        assert one.process is not None
        code = one.process.poll()
        restarts = f", restarted {one.restarts} times" if one.restarts else ""
        if code is None:
            return f"runs as process {one.process.pid}{restarts}"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{how}, starts again in {max(0.0, one.again - self._clock()):.0f} s{restarts}"

    def _end(self) -> None:
        running = [one.process for one in self._processes.values() if one.process and one.process.poll() is None]
        for process in running:
            process.terminate()
        running += [process for process, _ in self._ending.values()]
        for process in running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
