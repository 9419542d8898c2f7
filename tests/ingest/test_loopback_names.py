"""A service on a loopback address answers to loopback names alone."""

import asyncio

import pytest
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from consumers.http.loopback_names import LoopbackNames, is_loopback


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "127.3.2.1:80", "[::1]", "[::1]:8080"])
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert answered(host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example:8080", "192.168.0.7", "[2001:db8::1]:80", "", "[::1", "127.0.0.1.x"],
)
def test_other_names_are_refused(host: str) -> None:
    assert not is_loopback(host)
    assert answered(host) == 421


def answered(host: str) -> int:
    client = TestClient(LoopbackNames(PlainTextResponse("yes")), base_url="http://localhost")
    return client.get("/", headers={"host": host}).status_code


def test_what_is_no_request_passes() -> None:
    passed = []

    async def app(scope, *_):
        passed.append(scope["type"])

    asyncio.run(LoopbackNames(app)({"type": "lifespan"}, None, None))
    assert passed == ["lifespan"]
