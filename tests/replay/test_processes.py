"""A replay that several processes share, and what becomes of it when one of them fails."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from consumers.cli.replay import WORKER
from pipeline.datasets.dataset import read_dataset
from pipeline.errors import RaieError
from pipeline.evaluation import replay_processes
from pipeline.evaluation.replay import replay
from pipeline.evaluation.replay_processes import Parallel
from tests.replay.conftest import silent
from tests.replay.small import config, emerging
from tests.replay.test_run_files import SAME_BYTES

STRATEGIES = ["raie_k1", "ensemble", "raie"]
SLICES = 1
EVENTS = 1_200


@pytest.fixture(scope="module")
def log() -> Path:
    return emerging(EVENTS)


def shared(log: Path) -> Parallel:
    return Parallel(2, log, (sys.executable, "-m", WORKER))


def run(log: Path, out: Path, parallel: Parallel | None, seeds: int = 2) -> list[tuple[int, int]]:
    shown: list[tuple[int, int]] = []
    replay(
        read_dataset(log),
        config(),
        STRATEGIES,
        seeds,
        out,
        lambda stage, done, total: shown.append((done, total)) if stage.startswith("replay") else None,
        lambda: 0.0,
        SLICES,
        parallel=parallel,
    )
    return shown


def test_several_processes_leave_the_bytes_of_one(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run(log, tmp_path / "one", None) == []
    shown = run(log, tmp_path / "two", shared(log))
    for name in (*SAME_BYTES, "slices.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert sorted(p.name for p in (tmp_path / "two" / "state").iterdir()) == ["seed0", "seed1"]
    timings = json.loads((tmp_path / "two" / "timings.json").read_text())["strategies"]
    assert set(timings) == set(STRATEGIES)
    assert all(of["observe"] > 0 for of in timings.values())
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    assert {total for _, total in shown} == {2 * 4 * 1_000}


def test_a_process_that_is_killed_ends_the_replay_by_name(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: list[subprocess.Popen[str]] = []
    spawn = replay_processes.ChildProcess._spawn

    def noted(child: replay_processes.ChildProcess) -> "subprocess.Popen[str]":
        born.append(spawn(child))
        if len(born) == 2:
            os.kill(born[0].pid, signal.SIGKILL)
        return born[-1]

    monkeypatch.setattr(replay_processes.ChildProcess, "_spawn", noted)
    with pytest.raises(RaieError, match="process of seed 0, set-up, was killed by signal 9"):
        run(log, tmp_path / "run", shared(log))
    assert all(process.poll() is not None for process in born)


def test_a_log_that_changes_meanwhile_is_refused(log: Path, tmp_path: Path) -> None:
    other = emerging(EVENTS + 1)
    with pytest.raises(RaieError, match="has changed since the replay began"):
        replay(
            read_dataset(log),
            config(),
            ["static"],
            1,
            tmp_path / "run",
            silent,
            lambda: 0.0,
            parallel=shared(other),
        )
