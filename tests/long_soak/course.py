"""Everything that happens to a pipeline in a run, and the size of the run."""

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from consumers.cli.processes import RAIE
from tests.long_soak.clients import Sender
from tests.long_soak.slopes import descendants, role_of, words_of

MAY_DIE = ("gate", "monitor", "train", "ingest")
"""Stages that are killed; the server is alone here, and a request to a dead one fails."""

Act = Callable[[], object]


@dataclass(frozen=True)
class Plan:
    """Size of a run.

    Attributes:
        seconds: of the stream.
        longest: seconds for which it goes on at most, where a command has not ended by then.
        rate, requests: events and requests per second.
        refreshes, erasures, kills: number of each, spread over the stream.
    """

    seconds: float
    longest: float
    rate: float
    requests: float
    refreshes: int
    erasures: int
    kills: int

    @property
    def events(self) -> int:
        return round(self.longest * self.rate)


class Course:
    """Refreshes, erasures and deaths, while events come.

    Args:
        folder: takes the output of commands.
        root: of the set-up.
        options: settings, for commands.
        plan: size of the run.
        up: process of `raie up`.
        users: who may be erased.
        say: shows a status line.

    Attributes:
        done: what was done, with its exit code, last line and seconds.
        killed: stage of each process that was killed.
    """

    def __init__(
        self,
        folder: Path,
        root: str,
        options: Sequence[str],
        plan: Plan,
        up: int,
        users: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self.done: list[dict[str, Any]] = []
        self.killed: list[str] = []
        self._folder, self._root, self._options, self._plan, self._up, self._say = folder, root, options, plan, up, say
        self._rng = Random(0)
        # One of a kind at a time, as people do.
        self._turns: dict[str, Lock] = defaultdict(Lock)
        self._erased = self._rng.sample(list(users), plan.erasures)

    def run(self, sender: Sender, others: Mapping[float, Act]) -> None:
        """Do everything in its time, until all of it is over and every command has ended; then end the stream."""
        acts = sorted([*self._acts(), *others.items()], key=lambda act: act[0])
        began, passed, words = time.monotonic(), 0.0, 0.0
        running: list[Future[object]] = []
        with ThreadPoolExecutor(max_workers=len(acts) or 1) as pool:
            while passed < self._plan.seconds or not all(one.done() for one in running):
                passed = time.monotonic() - began
                while acts and passed >= acts[0][0] * self._plan.seconds:
                    running.append(pool.submit(acts.pop(0)[1]))
                if passed >= words:
                    words += 30.0
                    self._say(f"{passed:5.0f} s: {len(sender.sent)} events, {len(self.killed)} kills")
                time.sleep(0.1)
        sender.stop.set()
        for one in running:
            one.result()

    def _acts(self) -> Iterator[tuple[float, Act]]:
        hours = str(self._plan.longest / 3600)
        for number in range(self._plan.refreshes):
            share = (number + 0.3) / self._plan.refreshes * 0.9
            yield share, lambda: self._command("refresh", "refresh", "run", "--root", self._root, "--hours", hours)
        for number, user in enumerate(self._erased):
            share = (number + 0.7) / self._plan.erasures * 0.95
            yield share, lambda user=user: self._command("erase", "erase", user, "--unlearn", user=user)
        for number in range(self._plan.kills):
            yield (number + 0.5) / self._plan.kills * 0.95, self._kill

    def _command(self, what: str, *words: str, **more: str) -> None:
        path = self._folder / f"{what}-{more.get('user', len(self.done))}.txt"
        with self._turns[what], path.open("w") as out:
            began = time.monotonic()
            command = [*RAIE, *words, *self._options]
            code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
        lines = path.read_text().splitlines()
        act = {"what": what, **more, "code": code, "seconds": round(time.monotonic() - began, 1)}
        self.done.append({**act, "last": lines[-1] if lines else ""})
        self._say(f"{what} {more.get('user', '')} ended with {code} after {act['seconds']} s")

    def _kill(self) -> None:
        stages = [(role_of(words_of(pid)), pid) for pid in descendants(self._up)]
        alive = [(role, pid) for role, pid in stages if role in MAY_DIE]
        if alive:
            role, pid = self._rng.choice(alive)
            self.killed.append(str(role))
            os.kill(pid, signal.SIGKILL)
