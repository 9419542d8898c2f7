"""Time from the announcement of an item over HTTP until it can be recommended, under load.

    python -m benchmarks.freshness --seconds 60
    python -m benchmarks.freshness --seconds 60 --kafka kafka://HOST:PORT

Gate, monitor, trainer, ingest service and server run as processes, each as a user starts it, over an embedded log, or
over topics of their own on a broker. This process sends, evenly spaced, `--arrivals` items a second to `POST /items`,
`--events` interactions a second to `POST /events`, a share of them with items just announced, and `--requests` a second
to `POST /recommend`. Items and interactions go in ten batches a second. Everything is on 127.0.0.1. An item can be
recommended once `GET /items/ID` of the server says that it exists. What happens in the first `--warm` seconds is not
counted. Prints one JSON object:

    recommendable_s   from before an item is sent to the end of the first answer that says it exists; of each batch the
                      last item, which is the latest
    within            share of these of at most one second
    recommend_s       of `POST /recommend`
    announce_s        of `POST /items`, which answers once the items are durable
    steps_s           p50 and p99 of the steps between events and effects, as the server has measured them
    behind            most records that a stage had still to read at the end
    load              processes that wished to run, mean of a minute, on the whole machine, before and after
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from consumers.cli.topics import create_topics
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.replay import prepare
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import save_setup

SETTINGS = ("items.text_encoder=hashing", "setup.max_epochs=3", "server.port=0", "ingest.port=0")

STAGES = ("gate", "monitor", "train")

BATCHES = 10
"""Batches of items, and of interactions, a second."""

USERS = 2_000

NEW_SHARE = 0.3
"""Share of the interactions whose item was announced since set-up."""

PATIENCE = 60.0
"""Seconds until something that should happen counts as failed."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm", type=float, default=10.0, help="seconds before that are not counted")
    parser.add_argument("--arrivals", type=int, default=50, help="items announced a second")
    parser.add_argument("--events", type=int, default=200, help="interactions a second")
    parser.add_argument("--requests", type=int, default=50, help="recommendations a second")
    parser.add_argument("--connections", type=int, default=4, help="of the recommendations")
    parser.add_argument("--kafka", metavar="URL", help="kafka://host:port of a broker; else the log is embedded")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder), given), indent=2))


def measured(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Start the pipeline, send the load, and return what was measured."""
    url = options.kafka or f"sqlite:///{folder / 'log.sqlite'}"
    own = (f"log.url={url}", *([f"log.prefix=freshness{time.time_ns()}-"] if options.kafka else []))
    config = load_config(None, (*SETTINGS, *own))
    items = set_up_in(folder, config)
    create_topics(config)
    before = os.getloadavg()[0]
    with _running(folder / "root", (*SETTINGS, *own)) as (ingest, server):
        load = Load(options, items, ingest, server)
        load.run()
        status, behind = _get(server, "/status"), _get(server, "/stages")
    return {
        "log": "kafka" if options.kafka else "embedded",
        "rates": {name: getattr(options, name) for name in ("arrivals", "events", "requests", "seconds")},
        **load.report(),
        "edits": status["edits"],
        "published": status["published"],
        "steps_s": status["freshness"],
        "behind": max((stage["behind"] for stage in behind), default=0),
        "load": {"before": round(before, 1), "after": round(os.getloadavg()[0], 1), "processors": os.cpu_count()},
    }


def set_up_in(folder: Path, config: Config) -> Sequence[str]:
    """Set up on a simulated log; return its items."""
    write(simulate("emerging", 0, 4_000), folder / "data")
    plan, catalogue = prepare(read_dataset(folder / "data"), config, lambda *_: None)
    save_setup(set_up(config, catalogue, plan.setup, 0), folder / "root")
    return catalogue.item_ids


@contextmanager
def _running(root: Path, settings: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Run all processes; yield the ports of ingest service and server once they are ready."""
    options = [word for setting in settings for word in ("--set", setting)]
    with ExitStack() as stack:
        for stage in STAGES:
            stack.enter_context(running([stage, "--root", str(root), *options], subprocess.DEVNULL))
        ingest = port_of(stack.enter_context(running(["ingest", *options], subprocess.PIPE)))
        server = port_of(stack.enter_context(running(["serve", "--root", str(root), *options], subprocess.PIPE)))
        for port in (ingest, server):
            _until(lambda port=port: _status(port, "/readyz") == 200)  # type: ignore[misc]
        yield ingest, server


@contextmanager
def running(arguments: Sequence[str], stderr: int) -> Iterator["subprocess.Popen[str]"]:
    """Run a command of `raie` until the block ends; it must not end before."""
    command = [sys.executable, "-m", "consumers.cli.main", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, text=True)
    try:
        yield process
        if process.poll() is not None:
            raise SystemExit(f"{arguments[0]} ended with status {process.returncode}")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def port_of(process: "subprocess.Popen[str]") -> int:
    """Port that a service says it listens on; what it says later is read and dropped."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://[^:]+:(\d+)", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return int(found.group(1))
    raise SystemExit(f"{process.args} did not start")


@dataclass
class Load:
    """Items, interactions and requests at fixed rates, and the times of their answers.

    Attributes:
        options: rates and seconds.
        known: items of set-up.
        ingest, server: ports.
    """

    options: argparse.Namespace
    known: Sequence[str]
    ingest: int
    server: int
    _announced: list[str] = field(default_factory=list)
    _sent: "Queue[tuple[str, float] | None]" = field(default_factory=Queue)
    _seconds: dict[str, list[float]] = field(
        default_factory=lambda: {"recommendable": [], "announce": [], "events": [], "recommend": []}
    )
    _failed: list[str] = field(default_factory=list)
    _began: float = 0.0

    def run(self) -> None:
        """Send everything, and wait until the last item can be recommended."""
        self._began = time.monotonic()
        share = self.options.requests / self.options.connections
        senders = [
            threading.Thread(target=self._send, args=(BATCHES, self._announce, self.ingest, 0)),
            threading.Thread(target=self._send, args=(BATCHES, self._take, self.ingest, 1)),
            *(
                threading.Thread(target=self._send, args=(share, self._recommend, self.server, 2 + number))
                for number in range(self.options.connections)
            ),
        ]
        watcher = threading.Thread(target=self._watch)
        for thread in (watcher, *senders):
            thread.start()
        for thread in senders:
            thread.join()
        self._sent.put(None)
        watcher.join()

    def report(self) -> dict[str, Any]:
        """Figures that were measured."""
        times = self._seconds["recommendable"]
        return {
            "items": len(self._announced),
            "measured": {name: len(seconds) for name, seconds in self._seconds.items()},
            "failed": len(self._failed),
            "failures": sorted(set(self._failed))[:5],
            "within": {"one_second": round(float(np.mean(np.array(times) <= 1.0)), 4) if times else 0.0},
            **{f"{name}_s": quantiles(seconds) for name, seconds in self._seconds.items()},
        }

    def _send(
        self, rate: float, act: Callable[[HTTPConnection, np.random.Generator], None], port: int, seed: int
    ) -> None:
        """Act `rate` times a second on one connection; what is late is done at once, and not left out."""
        rng = np.random.default_rng(seed)
        with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            for number in range(round(rate * (self.options.warm + self.options.seconds))):
                time.sleep(max(0.0, self._began + number / rate - time.monotonic()))
                act(connection, rng)

    def _announce(self, connection: HTTPConnection, rng: np.random.Generator) -> None:
        first = len(self._announced)
        names = [f"new{first + n}" for n in range(self.options.arrivals // BATCHES)]
        kinds = rng.integers(1000, size=len(names)).tolist()
        began = time.monotonic()
        batch = [
            {"item_id": name, "text": f"A thing of kind {n}, {name}"} for name, n in zip(names, kinds, strict=True)
        ]
        self._post("announce", connection, "/items", batch, began)
        self._announced += names
        self._sent.put((names[-1], began))

    def _take(self, connection: HTTPConnection, rng: np.random.Generator) -> None:
        announced, now = self._announced[-200:], time.time()
        batch = []
        for n in range(self.options.events // BATCHES):
            among = announced if announced and rng.random() < NEW_SHARE else self.known
            item = among[int(rng.integers(len(among)))]
            batch.append({"user_id": f"u{rng.integers(USERS)}", "item_id": item, "timestamp": now + n * 1e-3})
        self._post("events", connection, "/events", batch, time.monotonic())

    def _recommend(self, connection: HTTPConnection, rng: np.random.Generator) -> None:
        user = f"u{rng.integers(USERS)}"
        self._post("recommend", connection, "/recommend", {"user_id": user}, time.monotonic())

    def _post(self, name: str, connection: HTTPConnection, path: str, body: object, began: float) -> None:
        """Send a request, and note how long its answer took."""
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except OSError as error:
            connection.close()
            self._failed.append(f"{path}: {type(error).__name__}")
            return
        ended = time.monotonic()
        if answer.status >= 300:
            self._failed.append(f"{path}: {answer.status} {said[:100]!r}")
        self._note(name, began, ended)

    def _note(self, name: str, began: float, ended: float) -> None:
        if began - self._began >= self.options.warm:
            self._seconds[name].append(ended - began)

    def _watch(self) -> None:
        """Ask for the last item of each batch, the oldest batch first, until the server has it."""
        with closing(HTTPConnection("127.0.0.1", self.server, timeout=PATIENCE)) as connection:
            while (sent := self._sent.get()) is not None:
                item_id, began = sent
                while not self._exists(connection, item_id):
                    if time.monotonic() - began > PATIENCE:
                        self._failed.append("an item did not arrive")
                        break
                    time.sleep(0.005)
                self._note("recommendable", began, time.monotonic())

    @staticmethod
    def _exists(connection: HTTPConnection, item_id: str) -> bool:
        connection.request("GET", f"/items/{item_id}")
        answer = connection.getresponse()
        said = json.loads(answer.read())
        return answer.status == 200 and bool(said["exists"])


def _status(port: int, path: str) -> int:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def _get(port: int, path: str) -> Any:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("a service is not ready")
        time.sleep(0.05)


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and largest of some values; nothing of none."""
    if not seconds:
        return {}
    return {name: round(float(np.quantile(seconds, q)), 4) for name, q in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}


if __name__ == "__main__":
    main()
