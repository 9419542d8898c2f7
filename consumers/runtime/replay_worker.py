"""A process of a replay that several share: reads jobs from stdin, writes their results into a folder.

One JSON object a line. The first has log, configuration and folders (`replay_processes.in_processes`):

    in     {"seed": 0, "strategy": "raie"}      "" for the set-up of the seed
    out    {"share": 0.25}                      progress of the job
    out    {"done": true}
    out    {"refused": "cause and remedy"}

The process ends with its parent.
"""

import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.numpy import save_file

from pipeline.child_process import answer, messages, own_stdout
from pipeline.config import Config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.readers.options import options_of
from pipeline.errors import DataError, RaieError
from pipeline.evaluation.replay_inputs import ReplayInputs
from pipeline.evaluation.replay_processes import SET_UP, Job, folder_of, regions_of
from pipeline.evaluation.strategy_result import write_result
from pipeline.evaluation.strategy_run import Stopwatch
from pipeline.models.seeding import make_deterministic
from pipeline.setup.artifacts import SetUp
from pipeline.setup.storage import load_setup, save_setup
from pipeline.strategies.common.trainings import Trainings

EVERY = 0.2
"""Seconds between two messages of progress, at least."""


class _Jobs:
    """Jobs of one replay.

    Args:
        start: first message of the parent.
        tell: receives the share of the job that is done.

    Raises:
        RaieError: the log cannot be read or cut, or has changed.
    """

    def __init__(self, start: Mapping[str, Any], tell: Callable[[float], None]) -> None:
        config = Config.model_validate(start["config"])
        dataset = read_dataset(Path(start["data"]), options_of(config.data))
        if dataset.sha256 != start["data_sha256"]:
            raise DataError(f"{start['data']} has changed since the replay began: replay again")
        self._tell, self._folder = tell, Path(start["folder"])
        self._inputs = ReplayInputs.of(dataset, config, start["slices"], Path(start["out"]), self._show)
        self._stopwatch = Stopwatch(time.perf_counter)
        self._setup_of: Callable[[int], SetUp] = lru_cache(maxsize=1)(self._load)

    def run(self, job: Job) -> None:
        """Run a job, and write what it makes."""
        seed, name = job
        if name == SET_UP:
            setup = self._inputs.set_up(seed, self._show)
            save_setup(setup, folder_of(self._folder, job))
            save_file(dict(self._inputs.setup_regions(setup)), regions_of(self._folder, seed))
            return
        folder = self._folder / f"seed{seed}" / "trainings"
        trainings = Trainings(folder, self._stopwatch.spent, self._stopwatch.spare)
        setup = self._setup_of(seed)
        result = self._inputs.run(name, setup, seed, trainings, self._stopwatch, self._show)
        write_result(result, folder_of(self._folder, job))

    def _load(self, seed: int) -> SetUp:
        return load_setup(folder_of(self._folder, (seed, SET_UP)), self._inputs.config.compute)

    def _show(self, stage: str, done: int, total: int) -> None:
        del stage
        if total:
            self._tell(done / total)


def serve(source: IO[str], sink: IO[str]) -> None:
    """Run the jobs that come from `source`, until the process ends with it.

    Args:
        source: a pipe whose other end closes when the parent ends.
        sink: pipe for the messages.
    """
    incoming = messages(source)
    start = next(incoming)
    make_deterministic()
    torch.set_num_threads(start["threads"])
    told = 0.0

    def tell(share: float) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY:
            told = time.monotonic()
            answer(sink, {"share": share})

    try:
        jobs = _Jobs(start, tell)
        for message in incoming:
            jobs.run((message["seed"], message["strategy"]))
            answer(sink, {"done": True})
    except RaieError as error:
        answer(sink, {"refused": str(error)})


def main() -> None:
    """Run the process."""
    pipe = own_stdout()
    serve(sys.stdin, pipe)


if __name__ == "__main__":
    main()
