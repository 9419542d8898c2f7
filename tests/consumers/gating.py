"""A log of interactions, and gates that run over it until nothing more comes."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

from prometheus_client import CollectorRegistry

from adapters_store import AdaptersStore
from consumers.gate.stage import GateStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.stage import KillPoint, Output, Turn, live_on
from consumers.runtime.topic_reader import value_of
from consumers.runtime.tracing import UNTRACED, Tracing
from consumers.runtime.user_tables import UserTables
from pipeline.config import Config
from pipeline.datasets.dataset import positives
from pipeline.events.interaction import Interaction
from pipeline.events.user_state import pseudonyms_in
from pipeline.setup.artifacts import SetUp
from pipeline.streams import Log, Record
from pipeline.streams.topics import DEAD_LETTERS, GATED, INTERACTIONS, USERS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.consumers.beginnings import remembered_beginnings
from tests.consumers.run_of_raie import SETTINGS, the_setup
from tests.replay.small import dataset, plan

PARTITIONS = 2
BATCH = SETTINGS.gate.batch_size

OpenLog = Callable[[], Log]
Json = Mapping[str, Any]


def changed(**sections: Mapping[str, object]) -> Config:
    """The settings of the recorded run with some changed, and short waits."""
    sections = {"consumers": {}, "trend": {"half_lives": [50.0, 500.0]}, "users": {"cached": 3}, **sections}
    sections["consumers"] = {"poll_timeout": 0.02, "snapshot_events": 150, **sections["consumers"]}
    return SETTINGS.model_copy(
        update={name: getattr(SETTINGS, name).model_copy(update=new) for name, new in sections.items()}
    )


@cache
def events() -> tuple[tuple[Interaction, ...], tuple[Interaction, ...]]:
    """Interactions of set-up, and those of the stream."""
    all_of_them = positives(dataset(), None)
    until = plan().slices.setup_until
    past = tuple(e for e in all_of_them if e.timestamp <= until)
    return past, tuple(all_of_them[len(past) :])


def said(event: Interaction, **more: object) -> dict[str, Any]:
    """An interaction as a producer writes it."""
    fields = ("event_id", "user_id", "item_id", "timestamp", "value")
    return {name: getattr(event, name) for name in fields} | more


def write(log: Log, values: Iterable[Json], partition: int | None = None) -> None:
    """Write interactions, in transactions of 100."""
    values = list(values)
    producer = log.producer("test")
    for start in range(0, len(values), 100):
        with producer.transaction() as transaction:
            for value in values[start : start + 100]:
                key = str(value.get("user_id"))
                transaction.send(INTERACTIONS, value, key=key, partition=partition, timestamp=1.0)


def fill(log: Log, stream: Sequence[Json], partition: int | None = None, partitions: int = PARTITIONS) -> None:
    """Write what set-up has learned from, and then a stream."""
    log.create_topics(pipeline_topics(partitions))
    write(log, [said(e, past=True) for e in events()[0]], partition)
    write(log, stream, partition)


LONG_QUIET = 100
"""Turns without a record after which a gate ends with events before it: those that it holds and never handles."""


class UntilQuiet(GateStage):
    """Ends its loop at the second turn in a row in which nothing happens, once it has read to the end.

    A broker's first answer may take longer than two short polls.
    """

    stop: Event
    quiet = 0

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        outputs = super().handle(turn)
        self.quiet = 0 if turn.records or outputs else self.quiet + 1
        if self.quiet >= LONG_QUIET or (self.quiet >= 2 and turn.consumer.lag() == 0):
            self.stop.set()
        return outputs


def gate_loop(
    open_log: OpenLog,
    folder: Path,
    config: Config,
    instance: str = "g",
    at: KillPoint = live_on,
    most: int = BATCH,
    stop: Event | None = None,
    kind: type[GateStage] = UntilQuiet,
    metrics: Metrics | None = None,
    tracing: Tracing = UNTRACED,
    made: SetUp | None = None,
) -> Loop:
    """A gate over a log."""
    metrics, stop, made = metrics or Metrics(CollectorRegistry()), stop or Event(), made or the_setup()
    setup = replace(made, backbone=copy.deepcopy(made.backbone))
    # Each turn is a checkpoint, and hardly a user stays in memory: what a test expects holds for the tables, too.
    tables = UserTables(folder / "users" / instance, interval=0.0)
    with remembered_beginnings():
        stage = kind(setup, config, AdaptersStore(folder / "adapters"), tables, instance, metrics)
    stage.stop = stop  # type: ignore[attr-defined]
    health = LoopHealth(metrics, lambda: 0.0, lambda _: None)
    return Loop(stage, open_log, instance, config.consumers, most, stop, health, at, tracing)


def read(log: Log, topic: str, partition: int = 0) -> list[Record]:
    """Everything that any process has committed to a partition."""
    return list(log.read(topic, partition, 0, log.acknowledged_end(topic, partition)))


def gated(log: Log) -> list[Json]:
    """Events of `gated`, without the tombstones of erased users."""
    return [record.value for record in read(log, GATED) if record.value is not None]


def named(log: Log) -> list[Json]:
    """Events of `gated`, with user ids in place of pseudonyms."""
    return with_users(log, gated(log))


def with_users(log: Log, events: Iterable[Json]) -> list[Json]:
    """Events with user ids in place of the pseudonyms whose keys are still in the log."""
    names = users_by_pseudonym(log)
    return [{**event, "user_id": names.get(event["user_id"], event["user_id"])} for event in events]


def users_by_pseudonym(log: Log) -> dict[str, str]:
    """Pseudonym -> user id, by all records of `users` that are still in the log."""
    records = [r for p in range(log.topic(USERS).partitions) for r in read(log, USERS, p) if r.value and r.key]
    return {name: str(r.key) for r in records for name in pseudonyms_in(r.value or {}, str(r.key))}


def letters(log: Log) -> list[Json]:
    return [value_of(record) for record in read(log, DEAD_LETTERS)]


def users(log: Log) -> dict[str, Json | None]:
    """The newest value of every user."""
    return {str(r.key): r.value for p in range(log.topic(USERS).partitions) for r in read(log, USERS, p) if r.key}


def count(metrics: Metrics, name: str) -> float:
    """A counter, over all of its labels."""
    lines = metrics.expose().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == f"raie_{name}")
