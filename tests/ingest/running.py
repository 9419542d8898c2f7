"""An ingest service on a port of its own."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import uvicorn

from consumers.http.listening import listen
from consumers.ingest.http.app import make_app
from consumers.ingest.service import IngestService
from consumers.runtime.runner import log_of
from pipeline.config import AccessSettings, Config, LogSettings
from pipeline.config.operation import IngestSettings
from pipeline.streams import Log
from pipeline.telemetry import new_metrics

PATIENCE = 30.0


@dataclass
class Running:
    """The service, its address and its log."""

    port: int
    service: IngestService
    log: Log
    settings: IngestSettings
    access: AccessSettings

    def post(self, path: str, body: Any, token: str | None = None) -> tuple[int, dict[str, Any]]:
        status, _, answer = self.ask(
            "POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), token
        )
        return status, json.loads(answer)

    def ask(
        self, method: str, path: str, body: bytes | None = None, token: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def metrics(self) -> str:
        return self.ask("GET", "/metrics")[2].decode()


@contextmanager
def ingesting(
    settings: LogSettings,
    access: AccessSettings | None = None,
    instance: str = "test",
    opened: Callable[[Config], Log] = log_of,
    **ingest: int,
) -> Iterator[Running]:
    """Run a service over a log until the block ends."""
    config = Config(log=settings, ingest=IngestSettings(**ingest), access=access or AccessSettings())
    log = opened(config)
    service = IngestService(log, instance, config, new_metrics(), time.time, time.monotonic)
    listening = listen("127.0.0.1", 0, "ingest")
    application = make_app(service, config.access, config.ingest)
    running = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield Running(listening.getsockname()[1], service, log, config.ingest, config.access)
    finally:
        running.should_exit = True
        thread.join(PATIENCE)
        listening.close()
        service.close()
