"""`raie up`: every stage as a process of its own, restarted when it dies, ended together."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a process that died is started again; doubled each time, up to the longest."""

SETTLED = 60.0
"""Seconds after which a process counts as well again."""

PATIENCE = 20.0
"""Seconds that a process has to stop by itself."""


@dataclass
class Kept:
    """One process that is kept running.

    Attributes:
        command: starts it.
        process: the running one, or the last.
        started: when, in monotonic seconds.
        again: when it is started next.
        pause: seconds it waits for that.
        restarts: how often it was started again.
    """

    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    again: float = 0.0
    pause: float = FIRST_PAUSE
    restarts: int = 0


class Supervisor:
    """Keeps processes running.

    Args:
        commands: by the name that status lines have.
        clock: monotonic seconds.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], clock: Callable[[], float]) -> None:
        self._kept = {name: Kept(command) for name, command in commands.items()}
        self._clock = clock

    def run(self, stop: Event, show: Callable[[Mapping[str, str]], None], interval: float = 0.5) -> None:
        """Keep all of them running until told to stop, then end them.

        Args:
            stop: ends it.
            show: told how each of them is, by name.
            interval: seconds between two looks.
        """
        try:
            while not stop.is_set():
                for kept in self._kept.values():
                    self._look_after(kept)
                show({name: self._state(kept) for name, kept in self._kept.items()})
                stop.wait(interval)
        finally:
            self._end()

    def _look_after(self, kept: Kept) -> None:
        now = self._clock()
        if kept.process is None:
            self._start(kept, now)
        elif kept.process.poll() is None:
            if now - kept.started >= SETTLED:
                kept.pause = FIRST_PAUSE
        elif not kept.again:
            kept.again = now + kept.pause
            kept.pause = min(2 * kept.pause, LONGEST_PAUSE)
        elif now >= kept.again:
            kept.restarts += 1
            self._start(kept, now)

    def _start(self, kept: Kept, now: float) -> None:
        # A session of its own: an interrupt from the terminal is for us, and we end them in order.
        kept.process = subprocess.Popen(kept.command, start_new_session=True)
        kept.started, kept.again = now, 0.0

    def _state(self, kept: Kept) -> str:
        assert kept.process is not None
        code = kept.process.poll()
        restarts = f", restarted {kept.restarts} times" if kept.restarts else ""
        if code is None:
            return f"runs as process {kept.process.pid}{restarts}"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{how}, starts again in {max(0.0, kept.again - self._clock()):.0f} s{restarts}"

    def _end(self) -> None:
        running = [kept.process for kept in self._kept.values() if kept.process and kept.process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
