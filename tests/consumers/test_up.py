"""Processes of `raie up`: what is refused before any starts, and their command lines.

RAIE_SOAK=1 runs two gates and two servers, as `make soak` does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from consumers.cli.processes import Numbers, environment_of, peers_of, services_of, stages_of
from consumers.server.peers import Peers
from pipeline.config import load_config
from pipeline.setup.storage import save_setup
from pipeline.streams import SqliteLog
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import GATED, INTERACTIONS, USERS
from tests.replay.small import raie
from tests.server.world import SETTINGS, item_id, the_setup

REPOSITORY = Path(__file__).parents[2]

REFUSED = {
    "more gates than partitions": (
        ["--gates", "9"],
        "there are 8 (log.partitions). Start at most 8, or begin a new log by `raie topics create --set "
        "log.partitions=9`",
    ),
    "gates in lockstep": (
        ["--gates", "2", "--set", "consumers.lockstep=true"],
        "consumers.lockstep needs exactly one gate",
    ),
    "more servers than partitions": (["--servers", "3", "--set", "log.partitions=2"], "start at most as many"),
    "servers without a port": (["--servers", "2", "--set", "server.port=0"], "set it to one from 1 to 65534"),
    "servers beyond the last port": (["--servers", "3", "--set", "server.port=65534"], "from 1 to 65533"),
    "too few peers": (["--servers", "2", "--set", "server.peers=[http://a:1]"], "server.peers names 1 servers"),
    "servers with a certificate": (
        ["--servers", "2", "--set", "access.certificate=c.pem", "--set", "access.certificate_key=k.pem"],
        "set server.peers to their URLs",
    ),
    "servers that everyone reaches": (["--servers", "1", "--set", "server.host=0.0.0.0"], "access.tokens is empty"),
}
"""Command line -> words of its refusal."""


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("url", ["sqlite:///none.sqlite", "kafka://127.0.0.1:1"])
def test_what_cannot_run_is_refused_by_name_on_either_log(
    name: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, words = REFUSED[name]
    ended = raie(capsys, "up", "--root", tmp_path, *options, "--set", f"log.url={url}")
    assert ended.code == 2 and words in ended.err


def test_each_process_has_its_share_of_the_cores_but_in_lockstep() -> None:
    config = load_config()
    assert environment_of(Numbers(1, 1, 1, 1), config, 16) == {"OMP_NUM_THREADS": "5"}
    assert environment_of(Numbers(2, 1, 2), config, 2) == {"OMP_NUM_THREADS": "1"}
    assert environment_of(Numbers(), load_config(overrides=["consumers.lockstep=true"]), 16) == {}


def test_stages_have_names_of_their_own_in_each_generation() -> None:
    stages = stages_of(Path("root"), 1, Numbers(gates=2, trainers=2, monitors=2), ["--set", "gate.floor=0.1"])
    assert [*stages] == ["gate-0", "gate-1", "monitor-0", "monitor-1", "trainer-0", "trainer-1"]
    assert stages["gate-1"][3:] == ["gate", "--root", "root", "--instance", "gate-1", "--set", "gate.floor=0.1"]
    later = stages_of(Path("root/generations/2"), 2, Numbers(gates=2), [])
    assert [*later] == ["gate-0.2", "gate-1.2", "monitor-0.2", "trainer-0.2"]


def settings_of(command: list[str]) -> list[str]:
    return [word for before, word in pairwise(command) if before == "--set"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_servers_share_the_users_on_ports_that_follow_each_other(host: str) -> None:
    options = ["--set", "server.port=9000", "--set", f"server.host='{host}'"]
    config = load_config(overrides=settings_of(options))
    commands = services_of(Path("root"), Numbers(servers=3, ingests=1), config, options)
    assert [*commands] == ["ingest-0", "server-0", "server-1", "server-2"]
    for place in range(3):
        given = load_config(overrides=settings_of(commands[f"server-{place}"]))
        near = "[::1]" if host == "::" else "127.0.0.1"
        peers = Peers.of(given.server, given.log.partitions)
        assert peers == Peers(tuple(f"http://{near}:{9000 + i}" for i in range(3)), place, 8)
        assert given.server.port == 9000 + place


def test_one_server_has_all_users_and_peers_of_the_configuration_stay() -> None:
    alone = services_of(Path("root"), Numbers(servers=1), load_config(), [])["server-0"]
    assert settings_of(alone) == ["server.port=8080"]
    named = ["https://a:1", "https://b:1"]
    assert peers_of(2, load_config(overrides=[f"server.peers={json.dumps(named)}"])) == named


def eventually(holds: Callable[[], Any], patience: float = 120.0) -> Any:
    deadline = time.monotonic() + patience
    while True:
        with suppress(OSError):
            if found := holds():
                return found
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def asked(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    with closing(connection):
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def answers(port: int, users: Mapping[str, str]) -> dict[str, Any]:
    """Answer to each user, without its id."""
    found = {}
    for user_id in users:
        status, answer = asked(port, "POST", "/recommend", {"user_id": user_id, "k": 3})
        assert status == 200, answer
        found[user_id] = {name: value for name, value in answer.items() if name != "request_id"}
    return found


def process_of(lines: list[str], name: str) -> int:
    """Id of the process that runs under a name, by what `raie up` said last."""
    return int([line.split()[-1] for line in lines if line.startswith(f"{name} ") and "runs as process" in line][-1])


if os.environ.get("RAIE_SOAK"):

    def test_two_gates_and_two_servers_share_the_users_through_a_kill(tmp_path: Path) -> None:
        save_setup(the_setup(), tmp_path / "root")
        settings = (
            f"windows.length={SETTINGS.windows.length}",
            f"trend.half_lives={json.dumps(list(SETTINGS.trend.half_lives))}",
            "trend.shrinkage=5",
            "items.text_encoder=hashing",
            f"log.url=sqlite:///{tmp_path}/log.sqlite",
            "log.partitions=4",
            "server.port=18080",
        )
        up = [sys.executable, "-m", "consumers.cli.main", "up", "--root", str(tmp_path / "root")]
        up += ["--gates", "2", "--servers", "2", *(word for one in settings for word in ("--set", one))]
        said = tmp_path / "said"
        with (
            said.open("w") as file,
            subprocess.Popen(up, stderr=file, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}) as process,
        ):
            try:
                ready = lambda: all(asked(port, "GET", "/readyz")[0] == 200 for port in (18080, 18081))  # noqa: E731
                eventually(ready)
                users = {f"user-{n}": item_id(1 + n % 20) for n in range(40)}
                with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
                    with log.producer("test").transaction() as transaction:
                        for user_id, item in users.items():
                            value = {"user_id": user_id, "item_id": item, "timestamp": 1.8e9, "event_id": user_id}
                            transaction.send(INTERACTIONS, value, key=user_id, timestamp=1.8e9)
                    partitions = range(4)
                    eventually(lambda: sum(log.end_offset(USERS, p) for p in partitions) >= len(users))
                    written = [*log.read(GATED, 0, 0, log.end_offset(GATED, 0))]
                    gates = Counter(str(record.value["gate"]) for record in written if record.value)
                    assert set(gates) == {"gate-0", "gate-1"} and gates.total() == len(users)
                own = [sum(partition_of(user, 4) % 2 == place for user in users) for place in (0, 1)]
                sizes = lambda: [asked(port, "GET", "/status")[1]["users"] for port in (18080, 18081)]  # noqa: E731
                eventually(lambda: sizes() == own)
                # Counts of the newest events may still be on their way.
                eventually(lambda: answers(18080, users) == answers(18081, users))
                first = answers(18080, users)
                assert all(one["answered_by"] != "trend" for one in first.values())
                os.kill(process_of(said.read_text().splitlines(), "server-1"), signal.SIGKILL)
                eventually(lambda: asked(18080, "POST", "/recommend/users", {"user_ids": [*users]})[0] == 503)
                eventually(lambda: asked(18080, "POST", "/recommend/users", {"user_ids": [*users]})[0] == 200)
                eventually(lambda: answers(18080, users) == first)
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
