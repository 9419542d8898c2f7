"""Somebody else's producer of interactions and items, and gates and a monitor in threads that live on what it sends."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from consumers.cli.monitor import MOST_GATED
from consumers.gate.stage import GateStage
from consumers.monitor.changelog import read_newest
from consumers.monitor.stage import MonitorStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.lockstep import Barrier, nothing_gated_since
from consumers.runtime.loop import Loop
from consumers.runtime.stage import KillPoint, live_on
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import Config, LogSettings
from pipeline.events.interaction import Interaction
from pipeline.events.item_status import ItemStatus
from pipeline.streams import Log, Record, open_log
from pipeline.streams.topics import GATED, INTERACTIONS, ITEMS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.consumers.gating import PARTITIONS, Json, gate_loop, read, with_users
from tests.consumers.run_of_raie import empty_store, the_setup
from tests.consumers.test_loop import Killed, until


class StockClient:
    """A producer that knows the names of two topics, and writes JSON as it comes out of `json.dumps`."""

    def __init__(self, log: LogSettings) -> None:
        self._producer = Producer({"bootstrap.servers": log.url.removeprefix("kafka://")})
        self._prefix = log.prefix

    def take(self, values: Iterable[Json], partition: int = 0) -> None:
        """Send interactions to one partition, and wait until the broker has them."""
        for value in values:
            self._send(INTERACTIONS, str(value["user_id"]), value, partition)
        assert self._producer.flush(30) == 0

    def announce(self, items: Mapping[str, Json | None]) -> None:
        """Send records of items by key, or tombstones, and wait until the broker has them."""
        for key, value in items.items():
            self._send(ITEMS, key, value, 0)
        assert self._producer.flush(30) == 0

    def _send(self, topic: str, key: str, value: Json | None, partition: int) -> None:
        said = None if value is None else json.dumps(value)
        self._producer.produce(self._prefix + topic, said, key, partition)


class Live:
    """Gates and a monitor over one broker, and the log that they leave.

    Attributes:
        client: sends what they read.
        gates: stage of each gate, the newest of each name.
        log: to be read.
        deaths: name of each stage that was killed.
        errors: of stages that ended in another way.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self._config = config
        self.client = StockClient(config.log)
        self.gates: dict[str, GateStage] = {}
        self.deaths: list[str] = []
        self.errors: list[Exception] = []
        self.log = self._open()
        self.log.create_topics(pipeline_topics(PARTITIONS))
        self._folder = folder
        self._stop = Event()
        self._records: list[Record] = []
        self._threads: list[Thread] = []
        self._making = Lock()

    def run(self, gates: Sequence[str] = "g", die: Mapping[str, Sequence[KillPoint]] | None = None) -> None:
        """Start gates of these names and a monitor, each dead at the points of its name, and alive again."""
        makers = {"m": self._monitor} | {name: self._gate(name) for name in gates}
        for name, make in makers.items():
            thread = Thread(target=self._keep_running, args=(name, make, [*(die or {}).get(name, ()), live_on]))
            self._threads.append(thread)
            thread.start()

    def settle(self, count: int) -> list[Json]:
        """Wait until so many events are gated and the monitor is done with them; return the records of `gated`."""
        until(lambda: bool(self.errors) or (self._gated() >= count and self._monitor_is_done()))
        assert self.errors == []
        return with_users(self.log, map(value_of, self._records))

    def statuses(self, status: str) -> list[str]:
        """Items of the monitor's records of this kind, in order."""
        return statuses(self.log, status)

    def existing(self, gate: str) -> set[str]:
        """Ids of the items that exist at a gate."""
        catalogue = self.gates[gate]._scoring.scorer.catalogue
        return {item_id for item_id in catalogue.row_of if catalogue.exists(item_id)}

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.log.close()

    def _keep_running(self, name: str, make: Callable[[KillPoint], Loop], points: Sequence[KillPoint]) -> None:
        """Run a stage until it stops; one that is killed starts again, with the next point."""
        for at in points:
            try:
                with self._making:
                    loop = make(at)
                loop.run()
            except Killed:
                self.deaths.append(name)
                continue
            except Exception as error:
                self.errors.append(error)
            return

    def _open(self) -> Log:
        return open_log(self._config.log.url, self._config.log)

    def _gate(self, name: str) -> Callable[[KillPoint], Loop]:
        def make(at: KillPoint) -> Loop:
            loop = gate_loop(self._open, self._folder, self._config, name, at, stop=self._stop, kind=GateStage)
            self.gates[name] = loop._stage  # type: ignore[assignment]
            return loop

        return make

    def _monitor(self, at: KillPoint) -> Loop:
        metrics = Metrics(CollectorRegistry())
        health = LoopHealth(metrics, lambda: 0.0, lambda _: None)
        stage = MonitorStage(the_setup(), self._config, empty_store(), 0, metrics)
        return Loop(stage, self._open, "m", self._config.consumers, MOST_GATED, self._stop, health, at)

    def _gated(self) -> int:
        """Number of records of `gated` so far."""
        start = self._records[-1].offset + 1 if self._records else 0
        self._records += new_records(self.log, GATED, start)
        return len(self._records)

    def _monitor_is_done(self) -> bool:
        if self._config.consumers.lockstep:
            return Barrier().is_open(self.log)
        kept = read_newest(self.log)
        at = kept.steps[-1] if kept.steps else kept.at
        return nothing_gated_since(self.log, at.gated)


@contextmanager
def live(config: Config, folder: Path) -> Iterator[Live]:
    """A pipeline over a log of its own; nothing runs yet."""
    pipeline = Live(config, folder)
    try:
        yield pipeline
    finally:
        pipeline.end()


def statuses(log: Log, status: str) -> list[str]:
    """Items of the monitor's records of one kind, in order."""
    records = (ItemStatus.from_record(r.key, r.value) for r in read(log, ITEMS) if r.value is not None)
    return [record.item_id for record in records if record and record.status == status]


def plain(event: Interaction, **more: object) -> dict[str, Any]:
    """An interaction with no more than a producer has to say."""
    return {"user_id": event.user_id, "item_id": event.item_id, "timestamp": event.timestamp, **more}


def new_items(stream: Sequence[Interaction]) -> list[str]:
    """Items of a stream that set-up does not know, in order of their first interaction."""
    known = the_setup().catalogue.row_of
    return list(dict.fromkeys(event.item_id for event in stream if event.item_id not in known))
