"""Waits of events while gates come, go and die under traffic.

    python -m benchmarks.rebalance --seconds 20
    python -m benchmarks.rebalance --seconds 20 --kafka kafka://HOST:PORT
    python -m benchmarks.rebalance --users 1000000 --set users.standby=true

Two gates share the partitions of an embedded log, or of topics of their own on a broker, each a process as a user
starts it. This process writes `--rate` events a second. After a while without change a third gate joins, leaves
(SIGTERM), joins again, is killed (SIGKILL) and is started again; each phase lasts `--seconds`. Everything is on
127.0.0.1. The events are of `--users` users, whose histories are in the log before. Prints one JSON object:

    phases    of the events that were written in each phase: their number, and the seconds from the commit of an event
              to the commit of its record in `gated`, by the wall clock of this machine
    longest   of these in any phase
    lost      events that no gate has scored
    twice     events with more than one record
    load      processes that wished to run, mean of a minute, on the whole machine, before and after
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.freshness import set_up_in
from benchmarks.users import user_name, write_users
from consumers.cli.processes import RAIE
from consumers.cli.topics import create_topics
from consumers.runtime.runner import log_of
from pipeline.config import Config, load_config
from pipeline.streams import Log
from pipeline.streams.topics import GATED, INTERACTIONS

SETTINGS = ("items.text_encoder=hashing", "setup.max_epochs=3")

BATCHES = 10
"""Transactions of events a second."""

PATIENCE = 600.0
"""Seconds in which gates must start, and have scored everything once the last event is written."""

GUEST = "gate-2"
"""The gate that comes and goes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase")
    parser.add_argument("--rate", type=int, default=200, help="events a second")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--kafka", metavar="URL", help="kafka://host:port of a broker; else the log is embedded")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="setting, as for `raie`")
    given = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(Path(folder), given)
    print(json.dumps(found | {"load": [load, os.getloadavg()[0]], "settings": vars(given)}, indent=2))


def _measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    url = given.kafka or f"sqlite:///{folder / 'log.sqlite'}"
    own = (f"log.url={url}", *([f"log.prefix=rebalance{time.time_ns()}-"] if given.kafka else []))
    settings = (*SETTINGS, *own, *given.settings)
    config = load_config(None, settings)
    items = set_up_in(folder, config)
    create_topics(config)
    gates = _Gates(folder / "root", settings)
    try:
        with closing(log_of(config)) as log:
            write_users(log, range(given.users), items)
            gates.start("gate-0")
            gates.start("gate-1")
            stream = _Stream(log, items, given.users, given.rate)
            stream.send("start", 1.0)
            stream.wait_until_scored()
            for phase, act in gates.course():
                act()
                stream.send(phase, given.seconds)
            stream.wait_until_scored()
            return {"log": "kafka" if given.kafka else "embedded", **stream.report(config)}
    finally:
        gates.end()


class _Gates:
    """Gates as processes.

    Args:
        root: of the set-up.
        settings: as for `raie`.
    """

    def __init__(self, root: Path, settings: Sequence[str]) -> None:
        self._options = ["--root", str(root), *(word for setting in settings for word in ("--set", setting))]
        self._started: list[subprocess.Popen[bytes]] = []
        self._guest = 0

    def start(self, name: str) -> None:
        """Start a gate."""
        command, no = [*RAIE, "gate", "--instance", name, *self._options], subprocess.DEVNULL
        self._started.append(subprocess.Popen(command, stdout=no, stderr=no))

    def course(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """Phases, and what happens at the start of each."""

        def joins() -> None:
            self.start(GUEST)
            self._guest = self._started[-1].pid

        def leaves(how: signal.Signals) -> Callable[[], None]:
            return lambda: os.kill(self._guest, how)

        return [
            ("no change", lambda: None),
            ("a third joins", joins),
            ("it leaves", leaves(signal.SIGTERM)),
            ("it joins again", joins),
            ("it is killed", leaves(signal.SIGKILL)),
            ("it is back", joins),
        ]

    def end(self) -> None:
        """End all of them."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.wait(PATIENCE)


class _Stream:
    """Events at a rate, and when they were written and scored.

    Args:
        log: has the topics.
        items: ids that are taken.
        users: number of users.
        rate: events a second.
    """

    def __init__(self, log: Log, items: Sequence[str], users: int, rate: int) -> None:
        self._log, self._items, self._users, self._rate = log, items, users, rate
        self._rng = np.random.default_rng(0)
        self._producer = log.producer("benchmark")
        self._phase: dict[str, str] = {}

    def send(self, phase: str, seconds: float) -> None:
        """Write events for so many seconds; what is late is written at once, and not left out."""
        began = time.monotonic()
        for number in range(round(seconds * BATCHES)):
            time.sleep(max(0.0, began + number / BATCHES - time.monotonic()))
            with self._producer.transaction() as transaction:
                for _ in range(self._rate // BATCHES):
                    event_id, user = f"e{len(self._phase)}", user_name(int(self._rng.integers(self._users)))
                    self._phase[event_id] = phase
                    item, now = self._items[int(self._rng.integers(len(self._items)))], time.time()
                    event = {"event_id": event_id, "user_id": user, "item_id": item, "timestamp": now}
                    transaction.send(INTERACTIONS, event, key=user, timestamp=now)

    def wait_until_scored(self) -> None:
        """Wait until there are as many records in `gated` as events, and a moment longer for what comes twice.

        Raises:
            SystemExit: that takes too long.
        """
        until = time.monotonic() + PATIENCE
        while len(self._scored()) < len(self._phase):
            if time.monotonic() > until:
                raise SystemExit("the gates do not score all events")
            time.sleep(0.2)
        time.sleep(1.0)

    def report(self, config: Config) -> dict[str, Any]:
        """Figures by phase."""
        written = self._written(INTERACTIONS, range(config.log.partitions))
        scored, records = self._written(GATED, range(1)), self._scored()
        waits: dict[str, list[float]] = {phase: [] for phase in self._phase.values()}
        for event_id in scored:
            waits[self._phase[event_id]].append(scored[event_id] - written[event_id])
        phases = {phase: _figures(of) for phase, of in waits.items() if phase != "start"}
        return {
            "events": len(self._phase),
            "session_seconds": config.log.session_seconds,
            "phases": phases,
            "longest": max(of["most"] for of in phases.values()),
            "lost": len(self._phase.keys() - scored.keys()),
            "twice": sum(number > 1 for number in Counter(records).values()),
        }

    def _scored(self) -> list[str]:
        """Event id of each record of `gated`."""
        records = self._log.read(GATED, 0, 0, self._log.acknowledged_end(GATED, 0))
        return [record.value["event_id"] for record in records if record.value]

    def _written(self, topic: str, partitions: range) -> Mapping[str, float]:
        """Event id -> seconds since 1970 at which its record was committed."""
        found: dict[str, float] = {}
        for partition in partitions:
            for record in self._log.read(topic, partition, 0, self._log.acknowledged_end(topic, partition)):
                if record.value and record.written_at is not None:
                    found[record.value["event_id"]] = record.written_at
        return found


def _figures(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        raise SystemExit("no event of a phase was scored")
    quantiles = {name: round(float(np.quantile(seconds, q)), 3) for name, q in (("p50", 0.5), ("p99", 0.99))}
    return {"events": len(seconds), **quantiles, "most": round(max(seconds), 3)}


if __name__ == "__main__":
    main(sys.argv[1:])
