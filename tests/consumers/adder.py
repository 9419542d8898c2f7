"""A stage small enough to be seen through: it adds up numbers by key, and its sums move with the partitions."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event

from prometheus_client import CollectorRegistry

from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.stage import KillPoint, Output, Turn, live_on
from pipeline.config import ConsumerSettings
from pipeline.streams import Log, Topic, TopicPartition
from pipeline.streams.partitioner import partition_of
from pipeline.telemetry import Metrics

PARTITIONS = 4
TOPICS = (Topic("in", PARTITIONS, "while needed"), Topic("sums", PARTITIONS, "compacted"), Topic("out", PARTITIONS))
SETTINGS = ConsumerSettings(poll_timeout=0.01, backoff=0.01, longest_backoff=0.04)


class Adder:
    """Sums by key; ends its loop at the first turn without records.

    Args:
        stop: set when nothing more comes.
        hold: records to wait for before anything is written.
    """

    name = "adder"
    topics = ("in",)

    def __init__(self, stop: Event, hold: int = 1) -> None:
        self.sums: dict[int, dict[str, int]] = {}
        self.restored: list[TopicPartition] = []
        self.closed = False
        self._stop = stop
        self._hold = hold
        self._held: list[Output] = []

    def prepare(self, log: Log) -> None:
        pass

    def stand_by(self, turn: Turn) -> None:
        pass

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        for (topic, partition), committed in came.items():
            sums: dict[str, int] = defaultdict(int)
            for record in log.read("sums", partition, 0, log.end_offset("sums", partition)):
                assert record.key is not None
                assert record.value is not None
                if int(str(record.value["input"])) < committed:
                    sums[record.key] = int(str(record.value["sum"]))
            self.sums[partition] = sums
            self.restored.append((topic, partition))

    def drop(self, went: Collection[TopicPartition]) -> None:
        for _, partition in went:
            del self.sums[partition]
        self._held = []

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        if not turn.records:
            self._stop.set()
        for record in turn.records:
            assert record.key is not None
            assert record.value is not None
            sums = self.sums[record.partition]
            sums[record.key] += int(str(record.value["n"]))
            value = {"sum": sums[record.key], "input": record.offset}
            self._held += [Output(t, value, record.key, 0.0, record.partition) for t in ("out", "sums")]
        if turn.records and len(self._held) < 2 * self._hold:
            return None
        outputs, self._held = self._held, []
        return outputs

    def close(self) -> None:
        self.closed = True


def fill(log: Log, count: int, start: int = 0) -> None:
    """Write numbers under ten keys, three to a transaction."""
    log.create_topics(TOPICS)
    producer = log.producer(f"fill-{start}")
    for first in range(start, start + count, 3):
        with producer.transaction() as transaction:
            for n in range(first, min(first + 3, start + count)):
                transaction.send("in", {"n": n}, key=f"k{n % 10}", timestamp=0.0)


def loop_of(
    open_log: Callable[[], Log],
    instance: str = "a",
    at: KillPoint = live_on,
    hold: int = 1,
    max_records: int = 5,
    stage: Adder | None = None,
    stop: Event | None = None,
    said: list[str] | None = None,
) -> Loop:
    stop = stop or Event()
    stage = stage or Adder(stop, hold)
    health = LoopHealth(Metrics(CollectorRegistry()), lambda: 0.0, said.append if said is not None else lambda _: None)
    return Loop(stage, open_log, instance, SETTINGS, max_records, stop, health, at)


def expected(count: int) -> dict[int, list[tuple[str, int]]]:
    """What `out` holds of the numbers below `count`, by partition, in order."""
    found: dict[int, list[tuple[str, int]]] = {p: [] for p in range(PARTITIONS)}
    sums: dict[str, int] = defaultdict(int)
    for n in range(count):
        key = f"k{n % 10}"
        sums[key] += n
        found[partition_of(key, PARTITIONS)].append((key, sums[key]))
    return found


def written(log: Log) -> dict[int, list[tuple[str, int]]]:
    """What `out` holds."""
    return {
        p: [(str(r.key), int(str((r.value or {})["sum"]))) for r in log.read("out", p, 0, log.end_offset("out", p))]
        for p in range(PARTITIONS)
    }
