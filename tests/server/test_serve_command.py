"""`raie serve` as a process."""

import json
import os
import re
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

from pipeline.setup.storage import save_setup
from tests.server.world import SETTINGS, the_setup

ROOT = Path(__file__).parents[2]


def test_the_address_is_printed_once_connections_are_accepted(tmp_path: Path) -> None:
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
            assert server.stderr is not None
            line = server.stderr.readline()
            found = re.match(r"http://127\.0\.0\.1:(\d+) ", line)
            assert found, line + server.stderr.read()
            connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b'{"status":"ok"}')
            connection.request("GET", "/status")
            # Two servers of a machine listen on two ports, and so have two names.
            assert json.loads(connection.getresponse().read())["instance"] == f"{socket.gethostname()}-{found[1]}"
            connection.close()
        finally:
            server.terminate()
