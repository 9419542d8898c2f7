"""Costs that should not grow with users, regions and gates, and restarts with many users.

    python -m benchmarks.scale --users 1000000 --regions 1000

    users      processor microseconds of an event in a gate with `--few` and with `--many` users (benchmarks/users.py)
    regions    of an event without a log, learning included, with `--few-regions` and `--regions` opened regions, each
               with an adapter and 500 item rows of its own (benchmarks/handler.py)
    gates      of an event with one gate and with two that share the partitions of one log, each on one thread:
               `handled` in the stage, and `log` for all else (polls, commits, waiting between them), their sum
    restart    seconds of gate and server with `--users`, and MB beyond the model: their first start, which builds the
               tables of users, and one after `--changed` more records (benchmarks/users.py)
    ratios     users, regions: the larger over the smaller; gates: `handled` of two over that of one; restart of gate
               and server: over their first start
    load       processes that wished to run, mean of a minute, on the whole machine, before and after

Logs are generated: users are drawn evenly, and items by Zipf's law (in `regions`, by a power of a uniform number).
Times are medians of `--repeats` turns. Prints one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import torch

from adapters_store import AdaptersStore
from benchmarks import handler
from benchmarks.users import PARTITIONS, SETTINGS, event_costs, feed, fill, prepared, restarts
from consumers.gate.stage import GateStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Point
from consumers.runtime.user_tables import UserTables
from pipeline.config import load_config
from pipeline.models.seeding import make_deterministic
from pipeline.setup.storage import load_setup
from pipeline.streams import Log, SqliteLog
from pipeline.streams.interface import TopicPartition
from pipeline.streams.topics import GATED
from pipeline.telemetry import new_metrics

GATES = (1, 2)

REGION_ITEMS = 2_000
"""Items of the measurement of regions: an adapter keeps a vector of each of them."""

FIRST_OPENED = 101


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=1_000, help="users of the smaller log")
    parser.add_argument("--many", type=int, default=100_000, help="users of the larger log")
    parser.add_argument("--few-regions", type=int, default=6)
    parser.add_argument("--regions", type=int, default=1_000)
    parser.add_argument("--users", type=int, default=20_000, help="of the restarts")
    parser.add_argument("--changed", type=int, default=5_000, help="records between two starts")
    parser.add_argument("--events", type=int, default=3_000, help="of a turn")
    parser.add_argument("--batches", type=int, default=20, help="of 128 events, with regions")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(Path(folder), given)
    found |= {"load": [load, os.getloadavg()[0]], "settings": vars(given)}
    print(json.dumps(found, indent=2))


def _measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    items, cached = prepared(folder), load_config(overrides=SETTINGS).users.cached
    sizes = {"few": (given.few, cached), "many": (given.many, cached)}
    users = event_costs(folder, sizes, given.events, given.repeats, items)
    regions = _of_regions((given.few_regions, given.regions), given.batches)
    gates = _of_gates(folder, given.few, given.events, given.repeats, items)
    restart = restarts(folder, given.users, given.changed, items)
    ratios = {
        "users": round(users["many"] / users["few"], 2),
        "regions": round(regions[given.regions] / regions[given.few_regions], 2),
        "gates": round(gates[2]["handled"] / gates[1]["handled"], 2),
        **{f"restart_{p}": _restart_ratio(restart[p]) for p in ("gate", "server")},
    }
    return {"users": users, "regions": regions, "gates": gates, "restart": restart, "ratios": ratios}


def _restart_ratio(of: Mapping[str, Mapping[str, float]]) -> float:
    return round(of["restart"]["seconds"] / of["build"]["seconds"], 3)


def _of_regions(numbers: Collection[int], batches: int) -> dict[int, float]:
    """Processor microseconds of an event, by the number of opened regions, each in a process of its own."""
    return {number: _started("regions", number, batches)() for number in numbers}


def of_regions(regions: int, batches: int) -> float:
    """Processor microseconds of an event with so many opened regions, median over batches."""
    torch.set_num_threads(1)
    config = load_config(overrides=[*handler.SETTINGS, f"edits.max_regions={regions + 64}"])
    opened_ids = range(FIRST_OPENED, FIRST_OPENED + regions)
    with tempfile.TemporaryDirectory() as folder:
        setup = handler.make_set_up(config, REGION_ITEMS)
        scoring = handler.opened(setup, config, REGION_ITEMS, Path(folder), opened_ids)
        stream = handler.stream_of(config, REGION_ITEMS, batches + batches // 3)
        seconds = [handler.timed(partial(scoring.score, batch)) for batch in stream]
    return round(1e6 * median(seconds[batches // 3 :]) / handler.BATCH, 1)


def _of_gates(folder: Path, users: int, events: int, repeats: int, items: Sequence[str]) -> dict[int, dict[str, float]]:
    """Processor microseconds of an event in the stage and in the log, by the number of gates; they take turns."""
    parts: dict[int, list[dict[str, float]]] = {number: [] for number in GATES}
    for repeat in range(repeats):
        for number in GATES:
            log = folder / f"gates-{number}-{repeat}.sqlite"
            fill(log, range(users), items)
            running = [_started("gate", folder, log, f"gate-{i}", number, events) for i in range(number)]
            _wait_for([_ready(log, f"gate-{i}") for i in range(number)])
            feed(log, users, events, items)
            found = [result() for result in running]
            parts[number].append({name: sum(one[name] for one in found) / events for name in ("handled", "log")})
            log.unlink()
    return {
        number: {name: round(median(one[name] for one in each)) for name in ("handled", "log")}
        for number, each in parts.items()
    }


def _ready(log: Path, instance: str) -> Path:
    """File that a gate makes once it has its share of the partitions."""
    return log.with_name(f"{log.name}.{instance}.ready")


def _wait_for(files: Collection[Path]) -> None:
    while not all(file.exists() for file in files):
        time.sleep(0.1)


class _SharingGate(GateStage):
    """A gate that says when it has its share of the partitions."""

    def share(self, partitions: int, ready: Path) -> None:
        """Make a file once so many partitions are held."""
        self._held_partitions, self._share, self._ready = 0, partitions, ready

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        """See `Stage.restore`."""
        super().restore(came, log)
        self._note(len(came))

    def drop(self, went: Collection[TopicPartition]) -> None:
        """See `Stage.drop`."""
        super().drop(went)
        self._note(-len(went))

    def _note(self, change: int) -> None:
        self._held_partitions += change
        if self._held_partitions == self._share:
            self._ready.touch()


def gate(folder: str, log: str, instance: str, gates: str, events: str) -> dict[str, float]:
    """Processor microseconds that one of several gates spends in its stage and for the log, until all is gated."""
    # One thread each, in both cases: threads that wait for each other on shared cores spend time on nothing.
    torch.set_num_threads(1)
    config = load_config(overrides=[*SETTINGS, "consumers.poll_timeout=0.05"])
    store, tables = AdaptersStore(Path(folder) / "root" / "adapters"), UserTables(Path(f"{log}.{instance}"))
    stage = _SharingGate(load_setup(Path(folder) / "root"), config, store, tables, instance, new_metrics())
    stage.share(PARTITIONS // int(gates), ready := _ready(Path(log), instance))
    stop, opened, spent = Event(), partial(SqliteLog, log), {"handled": 0.0, "log": 0.0}
    last = time.process_time()
    reader = opened()

    def at(point: Point) -> None:
        nonlocal last
        now = time.process_time()
        if ready.exists():
            spent["handled" if point is Point.HANDLED else "log"] += 1e6 * (now - last)
            if point is Point.POLLED and reader.end_offset(GATED, 0) >= int(events):
                stop.set()
        last = time.process_time()

    health = LoopHealth(new_metrics(), time.monotonic, lambda _: None)
    with closing(reader):
        Loop(stage, opened, instance, config.consumers, config.gate.transaction_events, stop, health, at).run()
    return spent


def _started(part: str, *arguments: object) -> Any:
    """Start a part in a process of its own; return a function that waits for its result."""
    command = [sys.executable, "-m", "benchmarks.scale", "--part", part, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def result() -> Any:
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{part} ended with code {process.returncode}")
        return json.loads(printed.splitlines()[-1])

    return result


def _part(name: str, *arguments: str) -> Any:
    make_deterministic()
    return of_regions(int(arguments[0]), int(arguments[1])) if name == "regions" else gate(*arguments)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        print(json.dumps(_part(*sys.argv[2:])))
    else:
        main()
