"""Logs for stages that run as processes, and a pipeline that is being refreshed."""

import shutil
from pathlib import Path

import pytest

from pipeline.config import LogSettings
from tests.broker import settings
from tests.consumers.refreshed import Refreshed, with_shadow
from tests.consumers.soak import PARTITIONS


@pytest.fixture(params=["sqlite", "kafka"])
def log_settings(request: pytest.FixtureRequest, tmp_path: Path) -> LogSettings:
    """Function that opens a log of this test's own, in several processes."""
    if request.param == "sqlite":
        return LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=PARTITIONS)
    return settings(url=request.getfixturevalue("kafka_url"), partitions=PARTITIONS)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Refreshed:
    """A pipeline with a set-up in the shadow whose gate has not begun, and events since; never changed."""
    folder = tmp_path_factory.mktemp("refreshed")
    return with_shadow(folder, LogSettings(url=f"sqlite:///{folder / 'log.sqlite'}", partitions=2))


@pytest.fixture
def pipeline(prepared: Refreshed, tmp_path: Path) -> Refreshed:
    """A copy of it for one test."""
    shutil.copytree(prepared.folder, tmp_path, dirs_exist_ok=True)
    log = LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=2)
    return Refreshed(tmp_path, prepared.config.model_copy(update={"log": log}))
