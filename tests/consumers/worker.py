"""One stage as a process of its own, which may be told to die.

Its arguments are STAGE INSTANCE FOLDER DEATH; `tests.consumers.forking` starts it. FOLDER holds the set-up (`root`),
the log, the adapters and `config.json`. DEATH is 0, or the seed of the point at which the process kills itself.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from threading import Event

from prometheus_client import CollectorRegistry

from adapters_store import AdaptersStore
from consumers.loop import Loop
from consumers.monitor import MonitorStage
from consumers.progress import Progress
from consumers.stage import Stage
from consumers.trainer_stage import TrainerStage
from consumers.training_child import TrainingChild
from pipeline.config import Config
from pipeline.evaluation.replay import make_deterministic
from pipeline.logs import LocalLog
from pipeline.metrics import Metrics
from pipeline.setup_files import load_setup
from tests.consumers.forking import ForkedChild
from tests.consumers.stand_in_gate import StandInGate

LEASE = 3.0
MOST_POINTS = {"gate": 40, "monitor": 60, "trainer": 60, "child": 8}
"""Points that a stage passes before it dies, at most."""


class Death:
    """Comes at a point that is drawn; never, for the seed 0."""

    def __init__(self, stage: str, seed: int) -> None:
        self._left = Random(seed).randint(1, MOST_POINTS[stage]) if seed else -1

    def __call__(self, point: object) -> None:
        self._left -= 1
        if self._left == 0:
            print(f"killed at {point}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


def settings(folder: Path) -> Config:
    return Config.model_validate(json.loads((folder / "config.json").read_text()))


def training(folder: Path, death: int) -> TrainingChild:
    start = {
        "root": str(folder / "root"),
        "adapters": str(folder / "adapters"),
        "config": settings(folder).model_dump(mode="json"),
    }
    return ForkedChild(start, Death("child", death))


def stage_of(name: str, folder: Path, metrics: Metrics, death: Callable[[object], None], seed: int) -> Stage:
    if name == "trainer":
        # The child dies now and then in the middle of putting a version into the store.
        return TrainerStage(training(folder, seed if seed % 2 else 0), metrics, death)
    make_deterministic()
    setup, config = load_setup(folder / "root"), settings(folder)
    if name == "monitor":
        return MonitorStage(setup, config, 0, metrics)
    return StandInGate(setup, config, AdaptersStore(folder / "adapters"))


def main(arguments: Sequence[str]) -> None:
    name, instance, folder, death = arguments[0], arguments[1], Path(arguments[2]), int(arguments[3])
    at = Death(name, death)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config, metrics = settings(folder), Metrics(CollectorRegistry())
    stage = stage_of(name, folder, metrics, at, death)
    progress = Progress(metrics, time.monotonic, lambda words: print(words, file=sys.stderr, flush=True))
    most = {"trainer": 1, "gate": config.gate.batch_size}.get(name, 500)
    log = folder / "log.sqlite"
    Loop(stage, lambda: LocalLog(log, lease=LEASE), instance, config.consumers, most, stop, progress, at).run()
