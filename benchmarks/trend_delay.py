"""Time until what the users of one gate take counts at the other gate and at a server.

    python -m benchmarks.trend_delay --repeats 20
    python -m benchmarks.trend_delay --repeats 20 --kafka kafka://HOST:PORT

Two gates share the users of an embedded log, or of topics of their own on a broker; a server answers. Each is a
process as a user starts it. Twenty events a second keep both gates at work. In turns, users of one gate take an item
that nobody has taken lately, `BURST` times. Everything is on 127.0.0.1. Prints one JSON object, seconds from before
these events are written:

    gate      until a record of the other gate says that it has counted them (`followed`)
    server    until `POST /trending` has the item among the first ten
    longest   of both
    load      processes that wished to run, mean of a minute, on the whole machine, before and after
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

from benchmarks.freshness import PATIENCE, port_of, quantiles, running, set_up_in
from consumers.cli.topics import create_topics
from consumers.runtime.runner import log_of
from pipeline.config import load_config
from pipeline.streams import Log
from pipeline.streams.topics import GATED, INTERACTIONS

SETTINGS = ("items.text_encoder=hashing", "setup.max_epochs=3", "server.port=0")

USERS, BURST, RATE = 200, 20, 20
"""Users, events that make an item rise, and events a second of everybody else."""

GATES = ("gate-0", "gate-1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="items that rise")
    parser.add_argument("--kafka", metavar="URL", help="kafka://host:port of a broker; else the log is embedded")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measured(Path(folder), given), indent=2))


def _measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    before, url = os.getloadavg()[0], given.kafka or f"sqlite:///{folder / 'log.sqlite'}"
    own = (f"log.url={url}", *([f"log.prefix=trend{time.time_ns()}-"] if given.kafka else []))
    config = load_config(None, (*SETTINGS, *own))
    items = set_up_in(folder, config)
    create_topics(config)
    options = ["--root", str(folder / "root"), *(word for one in (*SETTINGS, *own) for word in ("--set", one))]
    found: dict[str, list[float]] = {"gate": [], "server": []}
    with ExitStack() as stack:
        started = [["gate", "--instance", name] for name in GATES] + [["serve"]]
        *_, server = [
            port_of(stack.enter_context(running([*command, *options], subprocess.PIPE))) for command in started
        ]
        stream = _Stream(stack.enter_context(closing(log_of(config))))
        stream.learn_homes(items[0])
        stack.enter_context(stream.of_everybody(items[: len(items) // 2]))
        for number in range(given.repeats):
            item, gate, other = items[len(items) // 2 + number], GATES[number % 2], GATES[1 - number % 2]
            began = time.monotonic()
            wanted = stream.burst(gate, item)
            found["gate"].append(_until(lambda: stream.followed(other) >= wanted, began))  # noqa: B023
            found["server"].append(_until(lambda: item in _trending(server), began))  # noqa: B023
    return {
        "log": "kafka" if given.kafka else "embedded",
        **{name: quantiles(seconds) for name, seconds in found.items()},
        "longest": round(max(max(seconds) for seconds in found.values()), 3),
        "load": [before, os.getloadavg()[0]],
    }


class _Stream:
    """Events, and which gate has each user.

    Args:
        log: has the topics.
    """

    def __init__(self, log: Log) -> None:
        self._log, self._numbers = log, count()
        self._producers = {name: log.producer(name) for name in ("everybody", "burst")}
        self._users: dict[str, list[str]] = {}
        self._position, self._gate_of, self._followed = 0, dict[str, str](), dict[str, int]()
        self._last: dict[str, int] = {}

    def learn_homes(self, item: str) -> None:
        """Write an event of each user until both gates have users, and note which gate has scored whom."""
        names = [f"u{number}" for number in range(USERS)]
        until = time.monotonic() + PATIENCE
        while len(self._users) < len(GATES):
            if time.monotonic() > until:
                raise SystemExit("the gates do not share the users")
            users = dict(zip(self._write("burst", names, [item] * USERS), names, strict=True))
            self._users = {}
            for event_id, gate in self._scored(list(users)).items():
                self._users.setdefault(gate, []).append(users[event_id])

    def burst(self, gate: str, item: str) -> int:
        """Let users of a gate take an item; return the offset behind the last of their records in `gated`."""
        self._scored(self._write("burst", self._users[gate][:BURST], [item] * BURST))
        return self._last[gate]

    def followed(self, gate: str) -> int:
        """Offset of `gated` up to which a gate has counted the events of others."""
        self._read()
        return self._followed.get(gate, 0)

    @contextmanager
    def of_everybody(self, items: Sequence[str]) -> Iterator[None]:
        """Write events of all users until the block ends."""
        users, ended = sorted(user for of_gate in self._users.values() for user in of_gate), Event()
        # Else each gate would be idle in turns, and an idle gate counts nothing.
        Random(0).shuffle(users)

        def write() -> None:
            for number in count():
                if ended.wait(1.0 / RATE):
                    return
                self._write("everybody", [users[number % len(users)]], [items[number % len(items)]])

        thread = Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _write(self, by: str, users: Sequence[str], items: Sequence[str]) -> list[str]:
        ids = [f"{by}-{next(self._numbers)}" for _ in users]
        with self._producers[by].transaction() as transaction:
            for event_id, user, item in zip(ids, users, items, strict=True):
                event = {"event_id": event_id, "user_id": user, "item_id": item, "timestamp": time.time()}
                transaction.send(INTERACTIONS, event, key=user, timestamp=event["timestamp"])
        return ids

    def _scored(self, ids: Sequence[str]) -> dict[str, str]:
        """Gate of each event, once all are scored."""
        until = time.monotonic() + PATIENCE
        while not self._gate_of.keys() >= set(ids):
            if time.monotonic() > until:
                raise SystemExit("the gates do not score all events")
            time.sleep(0.02)
            self._read()
        return {event_id: self._gate_of[event_id] for event_id in ids}

    def _read(self) -> None:
        start, self._position = self._position, self._log.end_offset(GATED, 0)
        for record in self._log.read(GATED, 0, start, self._position):
            value: Any = record.value or {}
            self._gate_of[value["event_id"]] = value["gate"]
            self._followed[value["gate"]] = value.get("followed") or self._followed.get(value["gate"], 0)
            self._last[value["gate"]] = record.offset + 1


def _until(holds: Callable[[], bool], began: float) -> float:
    """Seconds since `began` at which a condition holds."""
    while not holds():
        if time.monotonic() - began > PATIENCE:
            raise SystemExit("what users of one gate took was not counted elsewhere")
        time.sleep(0.05)
    return time.monotonic() - began


def _trending(port: int) -> list[str]:
    """Items that a server lists as trending."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("POST", "/trending", "{}", {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    return [one["item_id"] for one in answer.get("items", [])]


if __name__ == "__main__":
    main()
