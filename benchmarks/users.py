"""Restart of gate and server with many users, and the cost of an event by the number of users.

    python -m benchmarks.users --users 1000000 --events 6000

A log gets the records that a gate would have written: of each user a full history and event ids. Gate and server start
on it without tables (`build`), again after `--changed` more records (`restart`). Then gates handle `--events` events of
users who are drawn evenly among 1,000 and among 100,000, in turns; the latter also with fewer users in memory. Each
measurement has a process of its own. Prints one JSON object:

    gate, server    seconds of the restore, or until everything is read, after the model is loaded; memory in MB that
                    it added at its peak
    event           processor microseconds of an event, checkpoints included, median of the repeats
    table_mb        size of the tables of one process
    ratios          gate, server: seconds of a restart over those of the build; event: of many users over few, and the
                    same with as many users in memory as `--cached`
    load            processes that wished to run, mean of a minute, on the whole machine, before and after
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from threading import Event
from typing import Any

from adapters_store import AdaptersStore
from consumers.gate.stage import GateStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Point
from consumers.runtime.user_tables import UserTables
from consumers.server.service import Edges, Service
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.replay import prepare
from pipeline.events.pseudonym import new_key
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.models.seeding import make_deterministic
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import load_setup, save_setup
from pipeline.streams import Log, SqliteLog
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import INTERACTIONS, USERS, pipeline_topics
from pipeline.telemetry import new_metrics

SETTINGS = ("items.text_encoder=hashing", "setup.max_epochs=1")

PARTITIONS, TRANSACTION, SIMULATED = 8, 10_000, 3_000

FEW, MANY = 1_000, 100_000
"""Users of the two logs over which events are measured."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=5_000, help="records between two starts")
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--cached", type=int, default=10_000, help="users in memory in the third measurement of events")
    parser.add_argument("--events", type=int, default=6_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        load = os.getloadavg()[0]
        found = _measured(Path(folder), given)
    found |= {"load": [load, os.getloadavg()[0]], "settings": vars(given)}
    print(json.dumps(found, indent=2))


def _measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    items, usual = prepared(folder), load_config(overrides=SETTINGS).users.cached
    found = restarts(folder, given.users, given.changed, items)
    runs = {"few": (given.few, usual), "many": (given.many, usual), "many_less_cached": (given.many, given.cached)}
    event = found["event"] = event_costs(folder, runs, given.events, given.repeats, items)
    shares = {p: round(found[p]["restart"]["seconds"] / found[p]["build"]["seconds"], 3) for p in ("gate", "server")}
    less = round(event["many_less_cached"] / event["few"], 2)
    found["ratios"] = {**shares, "event": round(event["many"] / event["few"], 2), "event_less_cached": less}
    return found


def prepared(folder: Path) -> Sequence[str]:
    """Make the set-up of all measurements in `root`; return the ids of its items."""
    config = load_config(overrides=SETTINGS)
    write(simulate("emerging", 0, SIMULATED), folder / "data")
    plan, catalogue = prepare(read_dataset(folder / "data"), config, lambda *_: None)
    save_setup(set_up(config, catalogue, plan.setup, 0), folder / "root")
    return catalogue.item_ids


def restarts(folder: Path, users: int, changed: int, items: Sequence[str]) -> dict[str, Any]:
    """Seconds and memory of the first start of gate and server, and of one after so many changed users."""
    fill(folder / "log.sqlite", range(users), items)
    found: dict[str, Any] = {"gate": {}, "server": {}}
    for start in ("build", "restart"):
        for part in ("gate", "server"):
            found[part][start] = _child(folder, part, "log.sqlite")
        fill(folder / "log.sqlite", range(changed), items)
    tables = (path.stat().st_size for path in (folder / "tables" / "gate").glob("*.users"))
    found["table_mb"] = round(sum(tables) / 1e6)
    return found


def event_costs(
    folder: Path, runs: Mapping[str, tuple[int, int]], events: int, repeats: int, items: Sequence[str]
) -> dict[str, int]:
    """Processor microseconds of an event, median of the repeats, for each number of users and of those in memory."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats):
        for name, (users, cached) in runs.items():
            log = f"{name}-{repeat}.sqlite"
            fill(folder / log, range(users), items)
            feed(folder / log, users, events, items)
            times[name].append(_child(folder, "events", log, str(events), str(cached)))
            (folder / log).unlink()
    return {name: round(median(each)) for name, each in times.items()}


def user_name(number: int) -> str:
    """User id of a number."""
    return f"user-{number:08d}"


@cache
def _zipf(n: int) -> Sequence[float]:
    """Cumulated weights 1, 1/2, ... 1/n."""
    return list(accumulate(1.0 / place for place in range(1, n + 1)))


def fill(path: Path, users: range, items: Sequence[str]) -> None:
    """Write a record of `users` for each user, as a gate does; how often items are taken follows Zipf's law."""
    with closing(SqliteLog(path)) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        write_users(log, users, items)


def write_users(log: Log, users: range, items: Sequence[str]) -> None:
    """Do what `fill` does with an open log that has the topics."""
    rng, length, partitions = Random(len(users)), load_config().windows.length, log.topic(USERS).partitions
    producer = log.producer("benchmark")
    for start in range(0, len(users), TRANSACTION):
        with producer.transaction() as transaction:
            for number in users[start : start + TRANSACTION]:
                taken = rng.choices(items, cum_weights=_zipf(len(items)), k=length)
                history = History(tuple(taken), length)
                state = UserState(history, f"event-{number}", 1.7e9 + number, rng.randbytes(256), keys=(new_key(),))
                name = user_name(number)
                home = partition_of(name, partitions)
                transaction.send(USERS, state.to_record(0), key=name, partition=home, timestamp=1.7e9)


def feed(path: Path, users: int, events: int, items: Sequence[str]) -> None:
    """Write events of users who are drawn evenly, with items by Zipf's law."""
    rng = Random(users)
    taken = rng.choices(items, cum_weights=_zipf(len(items)), k=events)
    with closing(SqliteLog(path)) as log, log.producer("benchmark").transaction() as transaction:
        for number in range(events):
            name, at = user_name(rng.randrange(users)), 1.8e9 + number
            value = {"event_id": f"new-{number}", "user_id": name, "item_id": taken[number], "timestamp": at}
            transaction.send(INTERACTIONS, value, key=name, timestamp=at)


def _child(folder: Path, *arguments: str) -> Any:
    """Result of a part, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.users", "--part", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _peak(act: Callable[[], object]) -> dict[str, float]:
    """Seconds of an act, and MB by which it raised the peak of memory."""
    before, began = _resident(), time.perf_counter()
    act()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"seconds": round(time.perf_counter() - began, 2), "memory_mb": round(peak - before)}


def _gate(folder: Path, config: Config, tables: str) -> GateStage:
    store, kept = AdaptersStore(folder / "root" / "adapters"), UserTables(folder / "tables" / tables)
    return GateStage(load_setup(folder / "root"), config, store, kept, "gate", new_metrics())


def start_gate(folder: Path, log: str) -> Any:
    """Restore all partitions."""
    stage = _gate(folder, load_config(overrides=SETTINGS), "gate")
    with closing(SqliteLog(folder / log)) as opened, closing(stage):
        came = {(INTERACTIONS, partition): 0 for partition in range(PARTITIONS)}
        return _peak(partial(stage.restore, came, opened))


def start_server(folder: Path, log: str) -> Any:
    """Follow the log until everything is read, and for a checkpoint."""
    config = load_config(overrides=[*SETTINGS, "log.partitions=8"])
    edges, kept = Edges(partial(SqliteLog, folder / log), time.time, print), UserTables(folder / "tables" / "server")
    setup = load_setup(folder / "root")
    service = Service(setup, config, folder / "root" / "adapters", kept, "benchmark", edges, new_metrics())
    with closing(service):

        def read() -> None:
            service.follower.start()
            while not service.follower.caught_up.wait(0.05):
                assert service.follower.ended is None, service.follower.ended

        found = _peak(read)
        time.sleep(12.0)
        return found


def handle_events(folder: Path, log: str, events: str, cached: str) -> Any:
    """Processor microseconds of an event."""
    config = load_config(overrides=[*SETTINGS, f"users.cached={cached}", "consumers.poll_timeout=0.05"])
    stage, stop, clocks = _gate(folder, config, log), Event(), []
    opened = partial(SqliteLog, folder / log)

    def at(point: Point) -> None:
        if point is Point.RESTORED:
            clocks.append(time.process_time())
        if point is Point.COMMITTED:
            with closing(opened()) as own:
                if own.end_offset("gated", 0) >= int(events):
                    clocks.append(time.process_time())
                    stop.set()

    health = LoopHealth(new_metrics(), time.monotonic, lambda _: None)
    Loop(stage, opened, "gate", config.consumers, config.gate.transaction_events, stop, health, at).run()
    return (clocks[-1] - clocks[-2]) / int(events) * 1e6


PARTS: dict[str, Callable[..., Any]] = {"gate": start_gate, "server": start_server, "events": handle_events}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        make_deterministic()
        print(json.dumps(PARTS[sys.argv[3]](Path(sys.argv[2]), *sys.argv[4:])))
    else:
        main()
