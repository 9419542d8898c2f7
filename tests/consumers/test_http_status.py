"""Metrics and health of a stage over HTTP."""

import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from consumers.runtime.health import LoopHealth
from consumers.runtime.http_status import served
from pipeline.errors import ConfigError
from pipeline.telemetry import new_metrics


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_stage_says_how_it_is() -> None:
    clock, metrics = Clock(), new_metrics()
    health = LoopHealth(metrics, clock, lambda _: None, patience=30.0)
    metrics.events.labels("interactions").inc(3)
    with served(metrics, health, "127.0.0.1", 0) as port:
        assert get(port, "/readyz")[0] == 503, "nothing is restored yet"
        health.ready = True
        assert get(port, "/readyz") == (200, "ok\n")
        assert get(port, "/healthz") == (200, "ok\n")
        clock.now += 31
        code, words = get(port, "/healthz")
        assert code == 503
        assert "no turn for 31 s" in words
        code, exposed = get(port, "/metrics")
        assert code == 200
        assert any(line.endswith(" 3.0") and 'topic="interactions"' in line for line in exposed.splitlines())
        assert get(port, "/")[0] == 404


def test_the_port_is_free_again_afterwards() -> None:
    clock = Clock()
    health = LoopHealth(new_metrics(), clock, lambda _: None)
    with served(new_metrics(), health, "127.0.0.1", 0) as port:
        pass
    with served(new_metrics(), health, "127.0.0.1", port) as again:
        assert again == port


def test_a_port_in_use_is_said_to_be() -> None:
    clock = Clock()
    health = LoopHealth(new_metrics(), clock, lambda _: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)), served(new_metrics(), health, "127.0.0.1", port):
            raise AssertionError("it must not get here")
