"""Logs for stages that run as processes."""

from pathlib import Path

import pytest

from pipeline.config import LogSettings
from tests.broker import settings
from tests.consumers.soak import PARTITIONS


@pytest.fixture(params=["local", "kafka"])
def log_settings(request: pytest.FixtureRequest, tmp_path: Path) -> LogSettings:
    """Function that opens a log of this test's own, in several processes."""
    if request.param == "local":
        return LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=PARTITIONS)
    return settings(url=request.getfixturevalue("kafka_url"), partitions=PARTITIONS)
