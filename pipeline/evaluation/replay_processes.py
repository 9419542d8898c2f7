"""Seeds and strategies of a replay, shared by several processes, with the results of a single one.

First the set-up of a seed is made, by one process, and stored; then its strategies are taken by whichever process is
free. Results come back in the order of seeds and strategies. The processes are `consumers.runtime.replay_worker`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.numpy import load_file

from pipeline.child_process import ChildEndedError, ChildProcess
from pipeline.errors import RaieError
from pipeline.evaluation.replay_inputs import Progress, ReplayInputs
from pipeline.evaluation.strategy_result import StrategyResult, read_result
from pipeline.events.windows import Ids

SET_UP = ""
"""In the place of a strategy: the set-up of a seed."""

POLL = 0.05
"""Seconds between two looks at the processes."""

PARTS = 1_000
"""Steps that the progress of every set-up and strategy is told in."""


class Begun(NamedTuple):
    """Set-up of a seed that is complete, with the likeliest set-up region of each window, by slice."""

    seed: int
    setup_regions: Mapping[str, Ids]


Outcome = Begun | StrategyResult

Job = tuple[int, str]
"""A seed, and a strategy or `SET_UP`."""


class Parallel(NamedTuple):
    """Processes that share a replay.

    Attributes:
        processes: their number.
        data: the log, which each of them reads.
        command: starts one of them.
    """

    processes: int
    data: Path
    command: Sequence[str]


def in_processes(
    inputs: ReplayInputs,
    strategies: Sequence[str],
    seeds: int,
    slices: int | None,
    folder: Path,
    progress: Progress,
    parallel: Parallel,
) -> Iterator[Outcome]:
    """Run seeds and strategies side by side.

    Args:
        inputs: of the replay.
        strategies: their names.
        seeds: number of seeds.
        slices: number of slices of the continual run, if any.
        folder: empty, for what the processes hand over.
        progress: receives the progress of all of them together.
        parallel: the processes.

    Raises:
        RaieError: one of them failed; the others are ended.
    """
    start = {
        "data": str(parallel.data.absolute()),
        "data_sha256": inputs.dataset.sha256,
        "config": inputs.config.model_dump(mode="json"),
        "slices": slices,
        "out": str(inputs.out.absolute()),
        "folder": str(folder.absolute()),
        "threads": max(1, torch.get_num_threads() // parallel.processes),
    }
    jobs = _Jobs(strategies, seeds)
    workers = [_Worker(ChildProcess(start, parallel.command)) for _ in range(min(parallel.processes, len(jobs.all)))]
    try:
        for job in jobs.all:
            while job not in jobs.done:
                _advance(workers, jobs)
                progress(f"replay in {len(workers)} processes", jobs.parts, PARTS * len(jobs.all))
            yield _read(folder, job)
    finally:
        for worker in workers:
            worker.child.stop()


class _Jobs:
    """Jobs of a replay, each once.

    Attributes:
        all: in the order of their results.
        done: those that are complete.
        parts: steps that are done, of all jobs.
    """

    def __init__(self, strategies: Sequence[str], seeds: int) -> None:
        self.all: list[Job] = [(seed, name) for seed in range(seeds) for name in (SET_UP, *strategies)]
        self.done: set[Job] = set()
        self._waiting = list(self.all)
        self._parts: dict[Job, int] = {}

    @property
    def parts(self) -> int:
        """Steps that are done, of all jobs."""
        return sum(self._parts.values())

    def take(self) -> Job | None:
        """Take the first job that can begin; None where there is none."""
        ready = (job for job in self._waiting if job[1] == SET_UP or (job[0], SET_UP) in self.done)
        job = next(ready, None)
        if job is not None:
            self._waiting.remove(job)
        return job

    def advance(self, job: Job, share: float) -> None:
        """Note that a share of a job is done; a job with several stages does not go back."""
        self._parts[job] = max(self._parts.get(job, 0), round(PARTS * share))

    def end(self, job: Job) -> None:
        """Note that a job is complete."""
        self.done.add(job)
        self._parts[job] = PARTS


class _Worker:
    """A process, and the job that it has."""

    def __init__(self, child: ChildProcess) -> None:
        self.child = child
        self.job: Job | None = None


def _advance(workers: Sequence[_Worker], jobs: _Jobs) -> None:
    """Give jobs to the processes that are free, and take over what the others say."""
    heard = False
    for worker in workers:
        if worker.job is None and (job := jobs.take()) is not None:
            worker.job = job
            worker.child.send({"seed": job[0], "strategy": job[1]})
        if worker.job is not None and (message := _heard(worker)) is not None:
            heard = True
            _take_over(worker, message, jobs)
    if not heard:
        time.sleep(POLL)


def _take_over(worker: _Worker, message: Mapping[str, Any], jobs: _Jobs) -> None:
    assert worker.job is not None
    if "refused" in message:
        raise RaieError(message["refused"])
    if "share" in message:
        jobs.advance(worker.job, message["share"])
    else:
        jobs.end(worker.job)
        worker.job = None


def _heard(worker: _Worker) -> dict[str, Any] | None:
    """Next message of a process, if there is one.

    Raises:
        RaieError: it has ended.
    """
    try:
        return worker.child.receive()
    except ChildEndedError as ended:
        seed, name = worker.job or (0, SET_UP)
        what = f"the process of seed {seed}, {name or 'set-up'},"
        if ended.code < 0:
            raise RaieError(
                f"{what} was killed by signal {-ended.code}: is there enough memory? Take fewer --processes"
            ) from None
        raise RaieError(f"{what} ended with code {ended.code}: see its output before this for the cause") from None


def folder_of(folder: Path, job: Job) -> Path:
    """Folder in which a process hands over what a job made."""
    return folder / f"seed{job[0]}" / (f"of-{job[1]}" if job[1] else "setup")


def regions_of(folder: Path, seed: int) -> Path:
    """File of the set-up regions of a seed."""
    return folder / f"seed{seed}" / "regions.safetensors"


def _read(folder: Path, job: Job) -> Outcome:
    seed, name = job
    return Begun(seed, load_file(regions_of(folder, seed))) if name == SET_UP else read_result(folder_of(folder, job))
