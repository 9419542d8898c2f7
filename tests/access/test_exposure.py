"""A service is open to nobody by mistake: checks at start, HTTPS, and forwarded headers."""

import json
import ssl
import threading
import urllib.request
from pathlib import Path

import pytest
import uvicorn
from fastapi.responses import JSONResponse

from consumers.http.exposure import check_exposure
from consumers.http.listening import access_line, listen, run_http
from pipeline.config import AccessSettings
from pipeline.errors import ConfigError
from tests.replay.small import raie
from tests.tokens import access_of

HERE = Path(__file__).parent
CERTIFICATE, KEY = str(HERE / "certificate.pem"), str(HERE / "key.pem")
TOKEN = "a token of some length"


def problems(section: str, host: str, access: AccessSettings, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_exposure(section, host, access, environment)
    return caught.value.problems


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "shop.example"])
@pytest.mark.parametrize(("section", "role"), [("server", "read"), ("ingest", "ingest")])
def test_an_open_address_without_tokens_is_refused_with_what_to_do(section: str, role: str, host: str) -> None:
    (problem,) = problems(section, host, access_of(None))
    assert f"{section}.host {host}" in problem and f"`raie token new NAME --role {role}`" in problem
    check_exposure(section, host, access_of(TOKEN), {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_needs_no_token(host: str) -> None:
    check_exposure("server", host, access_of(None), {"RAIE_ADMIN_TOKEN": ""})


@pytest.mark.parametrize(("section", "role"), [("server", "admin"), ("ingest", "ingest")])
def test_a_token_of_earlier_versions_is_refused_by_name_and_not_shown(section: str, role: str) -> None:
    variable = {"server": "RAIE_ADMIN_TOKEN", "ingest": "RAIE_INGEST_TOKEN"}[section]
    (problem,) = problems(section, "127.0.0.1", access_of(None), **{variable: TOKEN})
    assert variable in problem and f"`raie token new NAME --role {role}`" in problem and TOKEN not in problem


@pytest.mark.parametrize("command", [("serve", "--root", "."), ("ingest",)])
def test_the_commands_check_it_before_anything_is_opened(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    section = "server" if command[0] == "serve" else "ingest"
    ended = raie(capsys, *command, "--set", f"{section}.host=0.0.0.0")
    assert ended.code == 2 and "access.tokens is empty" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    for certificate, key, said in (
        (CERTIFICATE, None, "belong together"),
        (None, KEY, "belong together"),
        (str(tmp_path / "none.pem"), KEY, "No such file"),
        (KEY, KEY, "cannot be used"),
    ):
        access = access_of(TOKEN, certificate=certificate, certificate_key=key)
        assert said in problems("server", "0.0.0.0", access)[0]
    check_exposure("server", "0.0.0.0", access_of(TOKEN, certificate=CERTIFICATE, certificate_key=KEY), {})


def test_the_line_at_start_warns_of_tokens_that_can_be_read_on_the_way() -> None:
    safe = access_of(TOKEN, certificate=CERTIFICATE, certificate_key=KEY)
    assert access_line("0.0.0.0", 80, safe).startswith("https://0.0.0.0:80; every call needs")
    assert "read on the way" in access_line("0.0.0.0", 80, access_of(TOKEN))
    for access, host in (
        (safe, "0.0.0.0"),
        (access_of(TOKEN), "127.0.0.1"),
        (access_of(TOKEN, proxies=["10.0.0.1"]), "::"),
    ):
        line = access_line(host, 80, access)
        assert "read on the way" not in line and TOKEN not in line


def served(access: AccessSettings, monkeypatch: pytest.MonkeyPatch, **headers: str) -> dict[str, object]:
    """Serve an application that tells the client and the scheme; return its answer to one request."""

    async def application(scope, receive, send):
        await JSONResponse({"client": scope["client"][0], "scheme": scope["scheme"]})(scope, receive, send)

    servers: list[uvicorn.Server] = []
    run = uvicorn.Server.run
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: (servers.append(self), run(self, sockets))[1])
    listening, accepting = listen("127.0.0.1", 0, "server"), threading.Event()
    arguments = (application, listening, access, accepting.set)
    thread = threading.Thread(target=run_http, args=arguments)
    thread.start()
    try:
        assert accepting.wait(20)
        scheme = "https" if access.certificate else "http"
        url = f"{scheme}://localhost:{listening.getsockname()[1]}/"
        context = ssl.create_default_context(cafile=CERTIFICATE)
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=20, context=context if access.certificate else None) as answer:
            found: dict[str, object] = json.load(answer)
            return found
    finally:
        servers[0].should_exit = True
        thread.join(20)
        listening.close()


def test_with_a_certificate_it_speaks_https(monkeypatch: pytest.MonkeyPatch) -> None:
    access = access_of(TOKEN, certificate=CERTIFICATE, certificate_key=KEY)
    assert served(access, monkeypatch) == {"client": "127.0.0.1", "scheme": "https"}


@pytest.mark.parametrize(("proxies", "client"), [([], "127.0.0.1"), (["127.0.0.0/8"], "203.0.113.9")])
def test_forwarded_headers_count_from_proxies_of_the_settings_alone(
    proxies: list[str], client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    found = served(access_of(TOKEN, proxies=proxies), monkeypatch, **{"X-Forwarded-For": "203.0.113.9"})
    assert found["client"] == client
