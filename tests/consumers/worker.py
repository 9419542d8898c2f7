"""One stage as a process that can kill itself at a drawn point.

Its arguments are STAGE INSTANCE FOLDER DEATH; `tests.consumers.forking` starts it. FOLDER holds the set-up (`root`,
with the adapters) and `config.json`, which names the log. DEATH is 0, or the seed of the point at which the process
kills itself.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Event

from prometheus_client import CollectorRegistry

from adapters_store import AdaptersStore
from consumers.cli.monitor import MOST_GATED
from consumers.gate.stage import GateStage
from consumers.monitor.stage import MonitorStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.runner import adapters_of, log_of
from consumers.runtime.stage import Point, Stage
from consumers.runtime.user_tables import UserTables
from consumers.trainer.child_process import TrainingChild
from consumers.trainer.orphans import collect_orphans
from consumers.trainer.stage import TrainerStage
from pipeline.config import Config
from pipeline.models.seeding import make_deterministic
from pipeline.setup.storage import load_setup
from pipeline.telemetry import Metrics
from tests.consumers.forking import ForkedChild

IN_A_TURN = (Point.POLLED, Point.HANDLING, Point.HANDLED)
IN_A_COMMIT = (Point.PUBLISHING, Point.COMMITTING, Point.COMMITTED)

MOST_TURNS, MOST_COMMITS, MOST_STEPS = 60, 3, 8
"""Passings of a point after which a process dies, at most: in any turn, in those that commit, in the training child."""


class Death:
    """Kills the process at a drawn passing of a drawn point; never for the seed 0."""

    def __init__(self, stage: str, seed: int) -> None:
        rng = Random(seed)
        own = (Point.SAVING,) if stage == "trainer" else ()
        self._point = rng.choice([*IN_A_TURN, *IN_A_COMMIT, Point.RESTORED, *own])
        most = MOST_TURNS if self._point in IN_A_TURN else MOST_COMMITS if self._point in IN_A_COMMIT else 1
        self._left = rng.randint(1, most) if seed else 0

    def __call__(self, point: Point) -> None:
        if point is self._point:
            self._left -= 1
            if self._left == 0:
                die(point)


class DeathOfChild:
    """Kills the process at a drawn step of a publication; never for the seed 0."""

    def __init__(self, seed: int) -> None:
        self._left = Random(seed).randint(1, MOST_STEPS) if seed else 0

    def __call__(self, step: str) -> None:
        self._left -= 1
        if self._left == 0:
            die(step)


def die(point: str) -> None:
    print(f"killed at {point}", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def settings(folder: Path) -> Config:
    return Config.model_validate(json.loads((folder / "config.json").read_text()))


def training(folder: Path, death: int) -> TrainingChild:
    start = {
        "root": str(folder / "root"),
        "adapters": str(adapters_of(folder / "root")),
        "config": settings(folder).model_dump(mode="json"),
    }
    return ForkedChild(start, DeathOfChild(death))


def stage_of(
    name: str, instance: str, folder: Path, metrics: Metrics, death: Callable[[Point], None], seed: int
) -> Stage:
    config, store = settings(folder), AdaptersStore(adapters_of(folder / "root"))
    if name == "trainer":
        with closing(log_of(config)) as log:
            collect_orphans(log, store)
        # The child dies now and then in the middle of putting a version into the store.
        return TrainerStage(training(folder, seed if seed % 2 else 0), metrics, death)
    make_deterministic()
    setup = load_setup(folder / "root")
    if name == "monitor":
        return MonitorStage(setup, config, store, 0, metrics)
    return GateStage(setup, config, store, UserTables(folder / "users" / instance, interval=0.0), instance, metrics)


def main(arguments: Sequence[str]) -> None:
    name, instance, folder, seed = arguments[0], arguments[1], Path(arguments[2]), int(arguments[3])
    death = Death(name, seed)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config, metrics = settings(folder), Metrics(CollectorRegistry())
    stage = stage_of(name, instance, folder, metrics, death, seed)
    health = LoopHealth(metrics, time.monotonic, lambda words: print(words, file=sys.stderr, flush=True))
    most = {"trainer": 1, "gate": config.gate.batch_size}.get(name, MOST_GATED)
    Loop(stage, lambda: log_of(config), instance, config.consumers, most, stop, health, death).run()
