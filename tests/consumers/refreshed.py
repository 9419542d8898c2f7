"""A pipeline with a set-up in the shadow: gates of both generations on one log, and their shares of it."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from consumers.refresh.preparation import Inputs, prepare_generation
from consumers.refresh.switching import Operator
from consumers.runtime.generations import log_in, read_generations
from consumers.runtime.loop import Loop
from consumers.runtime.runner import binding_of, bound_log_of
from consumers.runtime.stage import KillPoint, live_on
from pipeline.config import Config, LogSettings
from pipeline.events.generation import Generation, State
from pipeline.events.interaction import Interaction
from pipeline.setup.storage import load_setup, save_setup
from pipeline.streams import GenerationLog, Log, open_log
from pipeline.streams.topics import USERS
from tests.consumers.gating import changed, events, fill, gate_loop, gated, read, said, write
from tests.consumers.run_of_raie import the_setup

SECONDS = 1.7e9
"""Time of all acts."""

LEARNED, LATER = 200, 320
"""Events of the stream before the fork, and all of them."""


@dataclass(frozen=True)
class Refreshed:
    """A pipeline in a folder.

    Attributes:
        folder: has the set-ups, in `root`.
        config: names the log.
    """

    folder: Path
    config: Config

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def open(self) -> Log:
        return open_log(self.config.log.url, self.config.log)

    def log(self, generation: int) -> GenerationLog:
        return log_in(self.open(), generation)

    def write(self, stream: Sequence[Interaction]) -> None:
        with closing(self.open()) as log:
            write(log, map(said, stream))

    def gate(self, generation: int, at: KillPoint = live_on) -> Loop:
        """A gate that runs until nothing more comes."""
        root = self.root if generation == 1 else self.root / "generations" / str(generation)
        opened = partial(bound_log_of, self.config, "gate-g", binding_of(root, self.config))
        made = the_setup() if generation == 1 else load_setup(root)
        return gate_loop(opened, root, self.config, at=at, made=made)

    def prepare(self) -> Generation:
        return prepare_generation(self.inputs())

    def inputs(self) -> Inputs:
        clock = lambda: SECONDS  # noqa: E731
        return Inputs(self.root, self.config, "test", 0, clock, time.monotonic, lambda *_: None)

    def gated(self, generation: int) -> list[str]:
        """Ids of the events that a generation has gated, sorted."""
        with closing(self.log(generation)) as log:
            return sorted(str(event["event_id"]) for event in gated(log))

    def histories(self, generation: int) -> dict[str, object]:
        """History of each user."""
        return {user: record["history"] for user, record in self.users(generation).items()}

    def users(self, generation: int) -> dict[str, dict[str, Any]]:
        """Newest record of each user."""
        with closing(self.log(generation)) as log:
            records = [r for p in range(log.topic(USERS).partitions) for r in read(log, USERS, p)]
        return {str(r.key): dict(r.value) for r in records if r.value is not None}


def operator(said_lines: list[str] | None = None) -> Operator:
    """An operator whose waits pass at once."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    lines: list[str] = [] if said_lines is None else said_lines
    return Operator("ann", lambda: SECONDS, lambda: now[0], sleep, lines.append)


def begun(folder: Path, log: LogSettings, stream: Sequence[Interaction], half_lives: Sequence[float] = ()) -> Refreshed:
    """A pipeline of the first generation alone, whose gate has read a stream."""
    sections = {"refresh": {"judged_events": 50, "linger": 5.0}, "trend": {"half_lives": list(half_lives)}}
    made = Refreshed(folder, changed(**sections).model_copy(update={"log": log}))
    save_setup(the_setup(), made.root)
    with closing(made.open()) as opened:
        fill(opened, [said(event) for event in stream], partitions=log.partitions)
    made.gate(1).run()
    return made


def stream(first: int, last: int) -> tuple[Interaction, ...]:
    """Interactions after set-up, by their numbers."""
    return events()[1][first:last]


def with_shadow(folder: Path, log: LogSettings) -> Refreshed:
    made = begun(folder, log, stream(0, LEARNED))
    assert made.prepare().state is State.SHADOW
    made.write(stream(LEARNED, LATER))
    made.gate(1).run()
    return made


def ids(first: int, last: int) -> list[str]:
    return sorted(event.event_id for event in stream(first, last))


def states(made: Refreshed) -> dict[int, State]:
    with closing(made.open()) as log:
        return {one.number: one.state for one in read_generations(log).all.values()}
