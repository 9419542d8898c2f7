"""A gate and a trainer that say again what they said in a replay, for a monitor stage to run between."""

from collections.abc import Callable
from threading import Event

from prometheus_client import CollectorRegistry

from adapters_store import AdaptersStore
from consumers.monitor.stage import MonitorStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.lockstep import Barrier
from consumers.runtime.loop import Loop
from consumers.runtime.stage import KillPoint, live_on
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import Config
from pipeline.streams import Log
from pipeline.streams.topics import EDITS, GATED, OUTCOMES, REGIONS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.consumers.run_of_raie import Run, empty_store, the_setup

PARTITIONS = 4


class World:
    """What the monitor's log says next.

    Attributes:
        stop: set when the whole run was settled.
    """

    def __init__(self, log: Log, run: Run, settings: Config) -> None:
        self.log = log
        self.stop = Event()
        log.create_topics(pipeline_topics(PARTITIONS))
        self._run = run
        self._batches = list(run.batches(settings))
        self._producer = log.producer("world")
        self._barrier = Barrier()
        self._answered: set[str] = set()

    def go_on(self) -> None:
        """Answer the edits that nobody answered; when all is settled, bring the next batch."""
        for edit_id in self.edits():
            if edit_id not in self._answered:
                self._answered.add(edit_id)
                self._answer(edit_id)
        if self._barrier.is_open(self.log):
            if not self._batches:
                self.stop.set()
                return
            with self._producer.transaction() as transaction:
                for record in self._batches.pop(0):
                    transaction.send(GATED, record.value, key=record.key, partition=0, timestamp=record.timestamp)

    def edits(self) -> list[str]:
        """Ids of the edits asked for, by time."""
        found = []
        for partition in range(PARTITIONS):
            for record in self.log.read(EDITS, partition, 0, self.log.end_offset(EDITS, partition)):
                found.append((value_of(record)["at_event"], value_of(record)["edit_id"]))
        return [edit_id for _, edit_id in sorted(found, key=lambda f: f[0])]

    def settled(self) -> int:
        return len(new_records(self.log, OUTCOMES, 0))

    def _answer(self, edit_id: str) -> None:
        with self._producer.transaction() as transaction:
            for topic, records in ((OUTCOMES, self._run.outcomes), (REGIONS, self._run.regions)):
                for record in records:
                    if record.value is not None and record.value["edit_id"] == edit_id:
                        transaction.send(topic, record.value, key=record.key, timestamp=record.timestamp)


class Between(MonitorStage):
    """The monitor, with the world going on before each of its turns."""

    world: World

    def handle(self, turn):  # type: ignore[no-untyped-def]
        outputs = super().handle(turn)
        if not outputs:
            self.world.go_on()
        return outputs


def monitor_loop(
    world: World,
    settings: Config,
    open_log: Callable[[], Log],
    at: KillPoint = live_on,
    store: AdaptersStore | None = None,
) -> Loop:
    metrics = Metrics(CollectorRegistry())
    stage = Between(the_setup(), settings, store or empty_store(), 0, metrics)
    stage.world = world
    health = LoopHealth(metrics, lambda: 0.0, lambda _: None)
    return Loop(stage, open_log, "m", settings.consumers, 40, world.stop, health, at)
