"""A gate in lockstep that gets its windows ready made: `interactions` holds them, in event order."""

import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from adapters_store import AdaptersStore
from consumers.following import new_records, value_of
from consumers.gate import GateHandler
from consumers.lockstep import Barrier
from consumers.revisions import LiveRegions
from consumers.stage import Output, Turn
from pipeline.adapters import AdapterHost
from pipeline.config import Config
from pipeline.logs import Log, Record, TopicPartition
from pipeline.logs.topics import GATED, INTERACTIONS, REGIONS
from pipeline.setup import SetUp
from pipeline.windows import Windows

PACE = 0.4
"""Seconds to a batch where nobody waits: as long as trainers need, so that there are many edits to share."""


class StandInGate:
    name = "gate"
    topics = (INTERACTIONS,)

    def __init__(self, setup: SetUp, config: Config, store: AdaptersStore) -> None:
        host = AdapterHost(setup.backbone, config.adapter)
        self._live = LiveRegions(setup.bank, host, store, setup.backbone_sha256)
        self._handler = GateHandler(setup, config, self._live)
        self._size = config.gate.batch_size
        self._lockstep = config.consumers.lockstep
        self._revision = 0
        self._barrier = Barrier()
        self._batch: list[Record] = []

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:  # noqa: ARG002
        self._batch = []

    def drop(self, went: Collection[TopicPartition]) -> None:  # noqa: ARG002
        self._batch = []

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        self._batch += turn.records
        where = (INTERACTIONS, 0)
        ended = bool(self._batch) and self._batch[-1].offset + 1 == turn.log.end_offset(*where)
        if len(self._batch) < self._size and not ended:
            return None
        turn.consumer.pause([where])
        if not self._batch or (self._lockstep and not self._barrier.is_open(turn.log)):
            return None
        if not self._lockstep:
            time.sleep(PACE)
        for record in new_records(turn.log, REGIONS, self._revision):
            self._live.apply(value_of(record))
            self._revision = record.offset + 1
        gated = self._handler.handle(windows(self._batch))
        self._batch = []
        turn.consumer.resume([where])
        return [Output(GATED, record, record["user_id"], record["timestamp"], 0) for record in gated]

    def close(self) -> None:
        pass


def fill(log: Log, stream: Windows) -> None:
    """Write windows as they are into `interactions`."""
    producer = log.producer("fill")
    for start in range(0, len(stream), 500):
        part = stream[slice(start, start + 500)]
        with producer.transaction() as transaction:
            for i in range(len(part)):
                value = {
                    "window": part.contexts[i].tolist(),
                    "target": int(part.targets[i]),
                    "user_id": str(part.users[i]),
                    "event_id": str(part.event_ids[i]),
                    "timestamp": float(part.timestamps[i]),
                }
                transaction.send(INTERACTIONS, value, key=None, partition=0, timestamp=value["timestamp"])


def windows(records: Sequence[Record]) -> Windows:
    values = [value_of(r) for r in records]
    return Windows(
        np.array([v["window"] for v in values], dtype=np.int64),
        np.array([v["target"] for v in values], dtype=np.int64),
        np.array([v["user_id"] for v in values], dtype=np.str_),
        np.array([v["event_id"] for v in values], dtype=np.str_),
        np.array([v["timestamp"] for v in values], dtype=np.float64),
    )
