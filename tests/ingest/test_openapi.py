"""The ingest service answers whatever its OpenAPI document allows, as the document says."""

from pathlib import Path

import pytest

from consumers.ingest.http.app import make_app
from pipeline.config import LogSettings
from tests.ingest.running import Running, ingesting
from tests.openapi import fuzz
from tests.tokens import access_of


@pytest.mark.parametrize("token", [None, "secret"])
def test_every_answer_is_documented(tmp_path: Path, token: str | None) -> None:
    log = LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=2)
    with ingesting(log, access_of(token), max_lag=20) as running:
        assert fuzz(document(running), running.port, 25, {"Authorization": "Bearer secret"}) == 5
        assert fuzz(document(running), running.port, 3, {}) == 5


def document(running: Running) -> dict[str, object]:
    return make_app(running.service, running.access, running.settings).openapi()
