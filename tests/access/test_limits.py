"""Limits of a client: by token, else by address, which a proxy may state if the settings trust it."""

import asyncio
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from consumers.http.access import Access
from consumers.http.client_limits import MOST_CLIENTS, ClientLimits, Exceeded
from pipeline.telemetry import new_metrics
from tests.tokens import access_of

TOKEN = "a token of some length"


def test_a_client_gets_its_rate_and_what_it_saved_for_two_seconds() -> None:
    limits = ClientLimits(per_second=2, in_flight=None)
    assert [limits.begin("a", 0.0) for _ in range(5)] == [None] * 4 + [Exceeded("rate", 1)]
    assert limits.begin("b", 0.0) is None
    assert limits.begin("a", 0.4) is not None
    assert limits.begin("a", 0.6) is None
    assert [limits.begin("a", 1000.0) for _ in range(5)] == [None] * 4 + [Exceeded("rate", 1)]
    assert ClientLimits(0.1, None).begin("a", 0.0) is None


def test_the_wait_is_as_long_as_the_next_request_takes() -> None:
    limits = ClientLimits(per_second=0.1, in_flight=None)
    assert [limits.begin("a", 0.0), limits.begin("a", 0.0), limits.begin("a", 4.0)] == [
        None,
        Exceeded("rate", 10),
        Exceeded("rate", 6),
    ]


def test_requests_at_once_are_bounded_and_free_their_place() -> None:
    limits = ClientLimits(None, in_flight=2)
    assert [limits.begin("a", 0.0) for _ in range(3)] == [None, None, Exceeded("in_flight", 1)]
    limits.end("a")
    assert limits.begin("a", 0.0) is None


def test_clients_are_forgotten_but_never_one_that_is_answered() -> None:
    limits = ClientLimits(1, 1)
    assert limits.begin("first", 0.0) is None
    for i in range(MOST_CLIENTS + 5):
        limits.begin(str(i), 0.0)
        limits.end(str(i))
    assert len(limits) == MOST_CLIENTS
    assert limits.begin("first", 100.0) == Exceeded("in_flight", 1)


class Service:
    """An application behind the middlewares, and a client of it."""

    def __init__(self, proxies: list[str] | None = None, **settings: object) -> None:
        self.metrics = new_metrics()
        access = access_of(TOKEN, proxies=proxies or [], **settings)
        self._app: Any = Access(self._answer, access, self.metrics, clock=lambda: 0.0)
        if access.proxies:
            self._app = ProxyHeadersMiddleware(self._app, trusted_hosts=access.proxies)

    async def _answer(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(self, path: str = "/edits", token: str | None = TOKEN, address: str = "10.0.0.1", **headers: str) -> int:
        sent: list[Any] = []
        given = {**headers, **({"authorization": f"Bearer {token}"} if token else {})}
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
        scope = {"type": "http", "path": path, "headers": pairs, "client": (address, 1), "scheme": "http"}

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self._app(scope, receive, send))
        self.headers = dict(sent[0]["headers"])
        status: int = sent[0]["status"]
        return status


def test_beyond_the_limit_a_client_is_answered_429_and_counted() -> None:
    service = Service(requests_per_second=1)
    assert [service.ask() for _ in range(3)] == [200, 200, 429]
    assert service.headers[b"retry-after"] == b"1"
    assert b'raie_refused_requests_total{reason="rate"} 1.0' in service.metrics.expose()


def test_a_token_is_one_client_from_any_address_and_guesses_are_limited_by_theirs() -> None:
    service = Service(requests_per_second=1)
    assert [service.ask(address=f"10.0.0.{i}") for i in range(3)] == [200, 200, 429]
    assert [service.ask(token=f"guess{i}", address="10.0.0.9") for i in range(3)] == [401, 401, 429]
    assert service.ask(token=None, address="10.0.0.8") == 401


def test_without_settings_there_is_no_limit_and_probes_never_have_one() -> None:
    unlimited, limited = Service(), Service(requests_per_second=1)
    assert {unlimited.ask() for _ in range(50)} == {200}
    assert {limited.ask("/healthz", token=None) for _ in range(50)} == {200}


@pytest.mark.parametrize(("proxies", "status"), [(["10.0.0.0/8"], 401), (["192.168.0.1"], 429), (None, 429)])
def test_a_forwarded_address_counts_from_a_trusted_proxy_alone(proxies: list[str] | None, status: int) -> None:
    service = Service(proxies, requests_per_second=1)
    found = [service.ask(token=None, x_forwarded_for=f"203.0.113.{i}") for i in range(3)]
    assert found == [401, 401, status]


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="proxies"):
        access_of(None, proxies=["proxy.example"])
