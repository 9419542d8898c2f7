import fcntl
import os
import shutil
from functools import cache
from pathlib import Path

import pytest

from pipeline.evaluation.replay import prepare, replay
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.strategies import DEFAULT
from pipeline.strategies.raie.replayed import Raie
from tests.replay import world
from tests.replay.small import config, dataset, plan


def silent(stage: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="session")
def setup() -> SetUp:
    """A set-up of the small log; every strategy copies what it changes."""
    return set_up(config(), prepare(dataset(), config(), silent)[1], plan().setup, seed=0)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the usual strategies; of several workers one makes it, and each has a copy."""
    own = tmp_path_factory.mktemp("finished")
    common = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = common / "finished-once" / "run"
    with (common / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            replay(dataset(), config(), list(DEFAULT), 1, own / "making" / "run", silent, lambda: 0.0)
            (own / "making").rename(made.parent)
    shutil.copytree(made, own / "run")
    return own / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> world.Run:
    @cache
    def once(scenario: str, seed: int) -> Raie:
        raie = world.run(scenario, seed, tmp_path_factory.mktemp(scenario))
        raie.close()
        return raie

    return once
