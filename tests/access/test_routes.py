"""Every route needs a token with its role, once there are tokens."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from consumers.http.access import HEALTH
from consumers.ingest.http.app import make_app as make_ingest
from consumers.server.http.app import make_app as make_server
from pipeline.config import AccessSettings, Config
from pipeline.config.access import ROLES
from pipeline.telemetry import new_metrics
from tests.tokens import access_of

TOKEN = "a token of some length"
OPEN = {*HEALTH, "/", "/page/{name}", "/openapi.json"}


def apps(access: AccessSettings) -> dict[str, FastAPI]:
    """Server and ingest without a log behind them."""
    silent: Any = dict.fromkeys(("stuck", "unready", "gauge"), lambda: None)
    service: Any = SimpleNamespace(metrics=new_metrics(), instance="test", advised=str, **silent)
    return {
        "server": make_server(service, access, 10_000),
        "ingest": make_ingest(service, access, Config().ingest),
    }


def calls(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every call of an application, those outside its document included."""
    documented = [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    return [*documented, ("GET", "/"), ("GET", "/page/{name}"), ("GET", "/openapi.json")]


def role_of(path: str) -> str:
    return "admin" if path.startswith("/admin/") else "ingest" if path in ("/feedback", "/events") else "read"


def ask(app: FastAPI, method: str, path: str, token: str | None) -> int:
    client = TestClient(app, raise_server_exceptions=False, base_url="http://localhost")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    filled = path.replace("{", "").replace("}", "")
    return client.request(method, filled, headers=headers, json={} if method == "POST" else None).status_code


@pytest.mark.parametrize("kind", ["server", "ingest"])
def test_every_call_but_the_open_ones_needs_a_token(kind: str) -> None:
    app = apps(access_of(TOKEN))[kind]
    closed = [one for one in calls(app) if one[1] not in OPEN]
    assert len(closed) >= (20 if kind == "server" else 2)
    for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1]):
        assert {ask(app, *call, token) for call in closed} == {401}
    assert ask(app, "GET", "/nothing", None) == 401
    assert 401 not in {ask(app, method, path, None) for method, path in calls(app) if path in OPEN}


@pytest.mark.parametrize("kind", ["server", "ingest"])
def test_every_call_needs_its_role_and_no_other_will_do(kind: str) -> None:
    for role in ROLES:
        app = apps(access_of(TOKEN, role))[kind]
        for method, path in calls(app):
            if path not in OPEN:
                wanted = "ingest" if kind == "ingest" else role_of(path)
                assert (ask(app, method, path, TOKEN) == 403) is (role != wanted), (role, method, path)


def test_a_token_in_the_address_is_no_token() -> None:
    app = apps(access_of(TOKEN))["server"]
    assert ask(app, "GET", f"/edits?token={TOKEN}&access_token={TOKEN}", None) == 401


def test_no_page_that_takes_a_token_loads_scripts_of_another_host() -> None:
    app = apps(access_of(TOKEN))["server"]
    assert {ask(app, "GET", path, TOKEN) for path in ("/docs", "/redoc")} == {404}
    assert ask(apps(access_of(None))["server"], "GET", "/docs", None) == 200


def test_an_unknown_client_is_refused_before_its_body_is_read() -> None:
    app = apps(access_of(TOKEN))["ingest"]
    answer = TestClient(app, base_url="http://localhost").post("/events", content=b"{" * 9_000_000)
    assert answer.status_code == 401


def test_refusals_are_counted_without_naming_a_token() -> None:
    app = apps(access_of(TOKEN, "ingest"))["server"]
    for token in (None, "wrong", TOKEN):
        ask(app, "GET", "/edits", token)
    shown = TestClient(app, base_url="http://localhost").get("/metrics").text
    assert 'raie_refused_requests_total{reason="token"} 2.0' in shown
    assert 'raie_refused_requests_total{reason="role"} 1.0' in shown
    assert TOKEN not in shown and "test" not in shown.replace("latest", "").replace("newest", "")


def test_a_page_of_a_foreign_site_cannot_send_events() -> None:
    """Without tokens a browser here would let it: of the bodies that need no leave, none is taken as JSON."""
    client = TestClient(apps(access_of(None))["ingest"], base_url="http://localhost", raise_server_exceptions=False)
    body = b'[{"user": "ann", "item": "i1", "ts": 1}]'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert client.post("/events", content=body, headers={"Content-Type": kind}).status_code == 422
    request = client.build_request("POST", "/events", content=body)
    assert "content-type" not in request.headers
    assert client.send(request).status_code == 422
