"""`raie serve` as a process."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from consumers.http.listening import SHUTDOWN_SECONDS, listen
from pipeline.setup.storage import save_setup
from tests.server.world import SETTINGS, the_setup

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The process; its port has no fixed number."""
    save_setup(the_setup(), tmp_path / "root")
    settings = (
        f"windows.length={SETTINGS.windows.length}",
        f"log.url=sqlite:///{tmp_path}/log.sqlite",
        "server.port=0",
    )
    command = [sys.executable, "-m", "consumers.cli.main", "serve", "--root", str(tmp_path / "root")]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            yield server
        finally:
            server.kill()


def port_of(server: subprocess.Popen[str]) -> int:
    """Port in the line that the process prints once it accepts connections."""
    assert server.stderr is not None
    before = []
    for line in server.stderr:
        if found := re.match(r"http://127\.0\.0\.1:(\d+) ", line):
            return int(found[1])
        before.append(line)
    raise AssertionError("".join(before))


def test_the_address_is_printed_once_connections_are_accepted(server: subprocess.Popen[str]) -> None:
    port = port_of(server)
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b'{"status":"ok"}')
    connection.request("GET", "/status")
    # Two servers of a machine listen on two ports, and so have two names.
    assert json.loads(connection.getresponse().read())["instance"] == f"{socket.gethostname()}-{port}"
    connection.close()


def test_a_half_sent_body_does_not_keep_the_process_from_ending(server: subprocess.Popen[str]) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=20) as client:
        head = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.sendall(head + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        # The server has begun to read the body: before that it would close the connection without an answer.
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"{")
        server.send_signal(signal.SIGTERM)
        server.wait(SHUTDOWN_SECONDS + 10)
        assert client.recv(100).startswith(b"HTTP/1.1 503 ")
    assert server.stderr is not None
    assert "Traceback" not in server.stderr.read()


def test_small_answers_are_sent_at_once() -> None:
    """The event loop turns TCP_NODELAY on for each connection of such a socket."""

    async def option() -> int:
        async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            done.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with await asyncio.start_server(handle, sock=listening):
            with socket.create_connection(listening.getsockname()):
                return await done

    with listen("127.0.0.1", 0, "server") as listening:
        assert asyncio.run(option()) != 0


def test_another_name_than_this_machines_is_refused(server: subprocess.Popen[str]) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 421 ")
