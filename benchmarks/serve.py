"""`raie serve` under load: requests a second, p50 and p99, while an edit is published and items arrive each second.

Three processes run: the server, as a user starts it; a load of several connections, each of which sends its next
request after the answer, up to a bounded rate; and this one, which announces items and publishes a new version of a
region each second, and measures the time until both are served. Time and memory from start to ready are measured for a
server with an empty log, for this one, and for this one after a restart. Prints one JSON object.

    python benchmarks/serve.py --users 100000 --regions 100 --seconds 60 --items 10000 --arrivals 20
"""

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from adapters_store import AdaptersStore
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.replay import prepare
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import save_setup
from pipeline.streams import SqliteLog
from pipeline.streams.topics import ITEMS, REGIONS, USERS, pipeline_topics

SETTINGS = ("items.text_encoder=hashing", "setup.max_epochs=1", "backbone.hidden_size=128")
LOG = "log.sqlite"
FIRST = 100
"""First region id: set-up has lower ones."""


def main() -> None:
    """Measure, and print the results."""
    options = _arguments()
    config = load_config(None, SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        made = Made(Path(folder), config, options)
        ready = {}
        with _served(made.folder, "empty.sqlite") as (_, _, ready["with_nothing_in_the_log"]):
            pass
        with _served(made.folder, LOG) as (process, port, ready["start"]):
            load, published = _run(made, port, options)
            after = _used(process)
        with _served(made.folder, LOG) as (_, _, ready["restart"]):
            pass
    print(json.dumps({"settings": vars(options), "ready": ready, **load, **published, "after": after}, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--regions", type=int, default=100)
    parser.add_argument("--items", type=int, default=1_000, help="items that the log has beyond those of set-up")
    parser.add_argument("--arrivals", type=int, default=10, help="items announced each second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=200.0, help="most requests a second")
    parser.add_argument("--connections", type=int, default=16)
    return parser.parse_args()


class Made:
    """Set-up, store and log with stream regions and users."""

    def __init__(self, folder: Path, config: Config, options: argparse.Namespace) -> None:
        self.folder, self._rng = folder, np.random.default_rng(0)
        write(simulate("emerging", 0, 4_000), folder / "data")
        plan, catalogue = prepare(read_dataset(folder / "data"), config, lambda *_: None)
        setup = set_up(config, catalogue, plan.setup, 0)
        save_setup(setup, folder / "root")
        self._setup, self._items, self._texts = setup, catalogue.item_ids, catalogue.texts
        self.announced = 0
        self._rank = config.adapter.rank
        self._shapes = self._shapes_of(setup, config)
        self.store = AdaptersStore(folder / "root" / "adapters")
        self.log = SqliteLog(folder / LOG)
        self.log.create_topics(pipeline_topics())
        self.producer = self.log.producer("benchmark")
        self.versions = dict.fromkeys(range(FIRST, FIRST + options.regions), 0)
        self._open(setup)
        self.announce(options.items)
        self._write_users(options.users, config.windows.length)

    def update(self, region_id: int) -> int:
        """Publish the next version of a region; return the revision."""
        region = self._next(region_id)
        return self._publish([region], self.bank.changed(region), moved=False)

    def announce(self, items: int) -> str:
        """Announce new items; return the id of the last one, "" without any."""
        item_id = ""
        with self.producer.transaction() as transaction:
            for _ in range(items):
                item_id, text = f"new{self.announced}", f"{self._rng.choice(self._texts)} {self.announced}"
                transaction.send(ITEMS, {"item_id": item_id, "text": text}, key=item_id, timestamp=1.6e9)
                self.announced += 1
        return item_id

    def _open(self, setup: SetUp) -> None:
        stream, reference = len(self.versions), setup.reference
        weights = self._rng.normal(size=(reference.shape[1] + stream + 1, 1 + stream))
        coverage = np.ones((stream, len(setup.bank.setup)))
        origins = OriginModel(
            tuple(self.versions), coverage, reference.mean(axis=0), reference.std(axis=0) + 1.0, weights
        )
        regions = [self._next(region_id) for region_id in self.versions]
        self.bank = setup.bank.changed(*regions).rebound(origins)
        self._publish(regions, self.bank, moved=True)

    def _write_users(self, users: int, length: int) -> None:
        histories = self._rng.choice(self._items, size=(users, length))
        for start in range(0, users, 1000):
            with self.producer.transaction() as transaction:
                for i, history in enumerate(histories[start : start + 1000].tolist(), start):
                    state = UserState(History.of(history, length, 0))
                    transaction.send(USERS, state.to_record(0), key=f"u{i}", timestamp=1.6e9)

    def _next(self, region_id: int) -> Region:
        version = self.versions[region_id] = self.versions[region_id] + 1
        name = self.store.publish(
            region_id,
            version,
            {key: self._rng.normal(size=s, scale=0.05).astype(np.float32) for key, s in self._shapes.items()},
            {"items": list(self._items[:100])},
            backbone_sha256=self._setup.backbone_sha256,
            edit_id=f"e{region_id}-{version}",
            parent=None,
            rank=self._rank,
            targets=["qkv"],
            seed=0,
            before={},
            after={},
        ).name
        width = self._setup.bank.regions[0].centroid.shape[0]
        return Region(
            region_id, version, Status.LIVE, Origin.STREAM, None, np.eye(width)[0], 0.5, 20.0, 0.01, name, 1, 0.7
        )

    def _publish(self, regions: Sequence[Region], bank: Any, moved: bool) -> int:
        with self.producer.transaction() as transaction:
            record = Revision.of(bank, tuple(regions), moved, edit_id="e").to_record()
            transaction.send(REGIONS, record, key=str(regions[0].region_id), timestamp=1.6e9)
        return transaction.offsets[0][2]

    @staticmethod
    def _shapes_of(setup: SetUp, config: Config) -> dict[str, tuple[int, ...]]:
        import copy  # noqa: PLC0415

        host = AdapterHost(copy.deepcopy(setup.backbone), config.adapter)
        host.create("r0001_v0001", list(range(1, 101)), parent=None, seed=0)
        return {key: value.shape for key, value in host.tensors("r0001_v0001").items()}


@contextmanager
def _served(folder: Path, log: str) -> Iterator[tuple[int, int, dict[str, float]]]:
    """Run a server: its process, its port, and time and memory until it was ready."""
    began = time.monotonic()
    server, port = _start(folder, log)
    try:
        _until_ready(port)
        yield server.pid, port, {"seconds": round(time.monotonic() - began, 2), **_used(server.pid)}
    finally:
        server.terminate()
        server.wait(30)


def _start(folder: Path, log: str) -> tuple[subprocess.Popen[str], int]:
    settings = [word for setting in (*SETTINGS, "server.port=0") for word in ("--set", setting)]
    command = [sys.executable, "-m", "consumers.cli.main", "serve", "--root", str(folder / "root")]
    server = subprocess.Popen(
        [*command, "--log", f"sqlite:///{folder / log}", *settings], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"http://[^:]+:(\d+)", line):
            return server, int(found.group(1))
    raise SystemExit("the server did not start")


def _get(port: int, path: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _until_ready(port: int) -> None:
    while True:
        try:
            if _get(port, "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)


def _used(process: int) -> dict[str, float]:
    """Seconds of processor time and MiB of memory of a process so far."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    memory = {key: int(kilobytes) / 1024 for key, kilobytes in re.findall(r"(Vm\w+):\s+(\d+)", status)}
    # The name of the program may hold blanks; utime and stime are the 12th and 13th field after it.
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    seconds = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return {
        "cpu_seconds": seconds,
        "memory_mib": round(memory["VmRSS"], 1),
        "most_memory_mib": round(memory["VmHWM"], 1),
    }


def _run(made: Made, port: int, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the load in another process, and publish an edit each second from this one."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    load = context.Process(
        target=_load, args=(port, options.seconds, options.rate, options.connections, options.users, results)
    )
    load.start()
    waits, arrivals, until = [], [], time.monotonic() + options.seconds
    regions = list(made.versions)
    while time.monotonic() < until:
        began = time.monotonic()
        revision = made.update(regions[len(waits) % len(regions)])
        announced = time.monotonic()
        while _get(port, "/regions")[1]["revision"] < revision:
            time.sleep(0.01)
        waits.append(time.monotonic() - announced)
        announced, last = time.monotonic(), made.announce(options.arrivals)
        while last and _get(port, f"/items/{last}")[0] != 200:
            time.sleep(0.01)
        arrivals.append(time.monotonic() - announced)
        time.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
    found = results.get(timeout=options.seconds + 60)
    load.join()
    served = {"publish_to_served_s": _quantiles(waits), "announced_to_served_s": _quantiles(arrivals)}
    return found, {"edits": len(waits), "items": made.announced, **served}


def _load(port: int, seconds: float, rate: float, connections: int, users: int, results: "Queue[Any]") -> None:
    """Send requests from several threads, together at most `rate` a second."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    os.nice(1)
    with ThreadPoolExecutor(connections) as pool:
        jobs = [pool.submit(_send, port, seconds, connections / rate, users, seed) for seed in range(connections)]
        parts = [job.result() for job in jobs]
    taken = [t for part, _ in parts for t in part]
    failed = sum(failures for _, failures in parts)
    results.put(
        {
            "requests": len(taken),
            "failed": failed,
            "requests_per_s": round(len(taken) / seconds, 1),
            "answer_s": _quantiles(taken),
        }
    )


def _send(port: int, seconds: float, interval: float, users: int, seed: int) -> tuple[list[float], int]:
    rng = np.random.default_rng(seed)
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    taken: list[float] = []
    failed, until = 0, time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        body = json.dumps({"user_id": f"u{rng.integers(users)}"})
        try:
            connection.request("POST", "/recommend", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            failed += response.status != 200
        except (OSError, HTTPException):
            failed += 1
            connection.close()
        taken.append(time.monotonic() - began)
        time.sleep(max(0.0, interval - taken[-1]))
    connection.close()
    return taken, failed


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {name: round(float(np.quantile(seconds, q)), 4) for name, q in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}


if __name__ == "__main__":
    main()
