"""Latency of kept-alive `POST /recommend` at 50 requests a second, alone, and beside bodies of 10 MB and slow ones.

Three processes run: the server, which listens on a socket for each variant and answers all from one service; the
client; and `benchmarks.hostile_bodies`. Alone, one connection is used, and a request is measured from its sending:
where answers wait, it cannot be sent when it is due. Beside bodies there are ten, and it is measured from then.
Variants:

    ours          the address as `raie serve` binds it, bodies of at most `server.max_body`
    plain_socket  a socket without IPPROTO_TCP, on which the event loop leaves TCP_NODELAY off
    no_limit      bodies of any length

Variants take turns in `--repeats` rounds, and the median round counts. `ratios` are ours over the other's: `alone_p50`
over `plain_socket`, `beside_p99` over `no_limit`, and `beside_to_alone_p99` over ours alone. Prints one JSON object.

    python -m benchmarks.http_latency --seconds 20 --repeats 3
"""

import argparse
import gc
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvicorn

from benchmarks.serve import LOG, SETTINGS, Made
from consumers.http.listening import listen
from consumers.runtime.user_tables import UserTables
from consumers.server.http.app import make_app
from consumers.server.service import Edges, Service
from pipeline.config import load_config
from pipeline.setup.storage import load_setup
from pipeline.streams import SqliteLog
from pipeline.telemetry import new_metrics

RATE = 50.0
"""Requests a second."""

USERS, REGIONS, ITEMS = 1_000, 10, 100
CONNECTIONS = 10

UNLIMITED = 1_000_000_000

Ports = Mapping[str, int]
Seconds = dict[str, float]


def main() -> None:
    """Measure, and print the results."""
    options = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        load = os.getloadavg()[0]
        made = argparse.Namespace(users=USERS, regions=REGIONS, items=ITEMS)
        Made(Path(folder), load_config(None, SETTINGS), made).log.close()
        with _serving(folder) as ports:
            rounds = [_round(ports, options.seconds) for _ in range(options.repeats)]
    conditions = {"rate": RATE, "cores": os.cpu_count(), "load_before": round(load, 2), **vars(options)}
    print(json.dumps(summary(rounds) | {"conditions": conditions}, indent=2))


def summary(rounds: Sequence[Mapping[str, Seconds]]) -> dict[str, Any]:
    """Return the medians over rounds, in milliseconds, and their ratios."""
    found = {
        name: {key: round(1000 * median(one[name][key] for one in rounds), 2) for key in rounds[0][name]}
        for name in rounds[0]
    }
    ratios = {
        "alone_p50": found["alone_ours"]["p50"] / found["alone_plain_socket"]["p50"],
        "beside_p99": found["beside_ours"]["p99"] / found["beside_no_limit"]["p99"],
        "beside_to_alone_p99": found["beside_ours"]["p99"] / found["alone_ours"]["p99"],
    }
    return {"milliseconds": found, "ratios": {name: round(ratio, 4) for name, ratio in ratios.items()}}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def _round(ports: Ports, seconds: float) -> dict[str, Seconds]:
    found = {f"alone_{name}": latency(ports[name], seconds, 1) for name in ("ours", "plain_socket")}
    for name in ("ours", "no_limit"):
        with _hostile(ports[name]):
            found[f"beside_{name}"] = latency(ports[name], seconds, CONNECTIONS)
    return found


def latency(port: int, seconds: float, connections: int) -> Seconds:
    """Return the quantiles of the time to an answer."""
    began = time.perf_counter() + 0.1
    with ThreadPoolExecutor(connections) as pool:
        jobs = [pool.submit(_send, port, began + one / RATE, seconds, connections) for one in range(connections)]
        taken = [each for job in jobs for each in job.result()]
    return {name: float(np.quantile(taken, q)) for name, q in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}


def _send(port: int, first: float, seconds: float, connections: int) -> list[float]:
    """Send the requests of one of several connections, the first when it is due; return the seconds that each took."""
    rng, connection = np.random.default_rng(0), HTTPConnection("127.0.0.1", port, timeout=120)
    taken = []
    for number in range(round(seconds * RATE / connections)):
        due = first + number * connections / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        began = due if connections > 1 else time.perf_counter()
        body = json.dumps({"user_id": f"u{rng.integers(USERS)}"})
        connection.request("POST", "/recommend", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"a request was answered {response.status}: {answer!r}")
        taken.append(time.perf_counter() - began)
    connection.close()
    return taken


@contextmanager
def _hostile(port: int) -> Iterator[None]:
    """Send large and slow bodies from another process until the block ends."""
    command = [sys.executable, "-m", "benchmarks.hostile_bodies", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


@contextmanager
def _serving(folder: str) -> Iterator[Ports]:
    """Run the server until the block ends; yield the port of each variant."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, theirs), daemon=True)
    process.start()
    yield ours.recv()
    process.kill()
    process.join()


def _serve(folder: str, parent: Any) -> None:
    config = load_config(None, SETTINGS)
    root = Path(folder) / "root"
    edges = Edges(partial(SqliteLog, Path(folder) / LOG), time.time, lambda _: None)
    tables = UserTables(root / "users")
    service = Service(load_setup(root), config, root / "adapters", tables, "bench", edges, new_metrics())
    limited, unlimited = (make_app(service, config.access, most) for most in (config.server.max_body, UNLIMITED))
    plain = socket.socket()
    plain.bind(("127.0.0.1", 0))
    bound = {"ours": listen("127.0.0.1", 0, "server"), "plain_socket": plain, "no_limit": listen("127.0.0.1", 0, "x")}
    ports = {name: one.getsockname()[1] for name, one in bound.items()}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        is_unlimited = scope["type"] == "http" and scope["server"][1] == ports["no_limit"]
        await (unlimited if is_unlimited else limited)(scope, receive, send)

    threading.Thread(target=_tell_when_ready, args=(service, ports, parent), daemon=True).start()
    gc.collect()
    gc.freeze()
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", access_log=False))
    server.run(sockets=list(bound.values()))


def _tell_when_ready(service: Service, ports: Ports, parent: Any) -> None:
    while service.unready() is not None:
        time.sleep(0.05)
    parent.send(ports)


if __name__ == "__main__":
    main()
