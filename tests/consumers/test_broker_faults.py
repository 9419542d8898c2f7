"""The gate on a real broker that fails, with invalid events among the valid ones.

RAIE_SOAK=1 makes them as long as `make soak` wants them: 10,000 events, and a broker that is away for 30 seconds.
"""

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from prometheus_client import CollectorRegistry

from consumers.runtime.stage import KillPoint, Point, live_on
from pipeline.config import LogSettings
from pipeline.streams import Log, open_log
from pipeline.streams.topics import GATED, INTERACTIONS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.broker import Broker, settings
from tests.consumers.gating import PARTITIONS, changed, count, gate_loop, gated, letters, read, write
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_gate_faults import Patient

LONG = bool(os.environ.get("RAIE_SOAK"))
EVENTS, AWAY = (10_000, 30.0) if LONG else (2_000, 5.0)
USERS = 200
LIMIT = 240.0

COMMIT_SECONDS = 4.0
"""Seconds, fewer than the outage lasts: the commit during it fails, and its outcome is unknown."""


def interactions(count: int) -> list[dict[str, Any]]:
    """Events of random users and items."""
    rng, items = Random(3), the_setup().catalogue.item_ids
    return [
        {"event_id": f"e{i}", "user_id": f"u{rng.randrange(USERS)}", "item_id": rng.choice(items), "timestamp": 2e9 + i}
        for i in range(count)
    ]


class Away:
    """Stops the broker for a while, at the n-th passing of a point.

    Attributes:
        over: set once it has been away and is back.
    """

    def __init__(self, broker: Broker, point: Point, passing: int) -> None:
        self.over = Event()
        self._broker, self._point, self._left = broker, point, passing

    def __call__(self, point: Point) -> None:
        if point is self._point:
            self._left -= 1
            if self._left == 0:
                self._broker.kill()
                Thread(target=self._back).start()

    def _back(self) -> None:
        time.sleep(AWAY)
        self._broker.start()
        self.over.set()


@contextmanager
def running(url: str, asked: LogSettings, folder: Path, metrics: Metrics, at: KillPoint = live_on) -> Iterator[None]:
    """A gate in a thread, until the block ends."""
    stop = Event()
    loop = gate_loop(
        lambda: open_log(url, asked), folder, changed(), most=100, stop=stop, kind=Patient, metrics=metrics, at=at
    )
    thread = Thread(target=loop.run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def all_gated(log: Log, expected: int) -> list[Any]:
    """Records of `gated`, once there are as many as wanted."""
    wait_for(lambda: log.end_offset(GATED, 0) >= expected and len(gated(log)) >= expected)
    return gated(log)


# Neither is passed in a turn without records, after which a gate has nothing to commit and need not notice anything.
@pytest.mark.parametrize("point", [Point.COMMITTING, *([Point.PUBLISHING] if LONG else [])])
def test_a_broker_that_is_away_costs_no_event_and_doubles_none(broker: Broker, tmp_path: Path, point: Point) -> None:
    before, patient, values = set(threading.enumerate()), settings(close_seconds=1.0), interactions(EVENTS)
    asked = patient.model_copy(update={"commit_seconds": COMMIT_SECONDS})
    url, metrics, away = broker.start(), Metrics(CollectorRegistry()), Away(broker, point, passing=8)
    with closing(open_log(url, patient)) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        write(log, values)
    with running(url, asked, tmp_path, metrics, away):
        assert away.over.wait(LIMIT), "the broker was to be away and to come back"
        with closing(open_log(url, patient)) as log:
            found = all_gated(log, EVENTS)
    with closing(open_log(url, patient)) as log:
        assert len(gated(log)) == EVENTS
    assert Counter(g["event_id"] for g in found) == Counter(v["event_id"] for v in values)
    assert count(metrics, "log_reopened_total") >= 1, "the gate never noticed"
    # Not a thread is left of the clients that were given up.
    wait_for(lambda: set(threading.enumerate()) <= before)


def test_one_in_a_hundred_is_poison_and_all_others_are_gated(kafka_url: str, tmp_path: Path) -> None:
    asked, values = settings(), interactions(EVENTS)
    poison: dict[str, bytes | None] = {
        "bad_json": b'{"user_id": "u1", "item_id": ',
        "bad_timestamp": b'{"user_id": "u1", "item_id": "i1", "timestamp": "soon"}',
        "bad_user_id": b'{"user_id": 7.5, "item_id": "i1", "timestamp": 5}',
        "null": None,
        "bad_json, not a number": b'{"user_id": "u1", "item_id": "i1", "timestamp": NaN}',
    }
    large = "bad_user_id, ten megabytes"
    # kafka-python takes seconds for the checksum of ten megabytes: one such record is enough.
    reasons = [large, *itertools.islice(itertools.cycle(poison), EVENTS // 100 - 1)]
    poison[large] = b'{"item_id": "i1", "timestamp": 5, "user_id": "' + b"u" * 10_000_000 + b'"}'
    with closing(open_log(kafka_url, asked)) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        topic, servers = asked.prefix + INTERACTIONS, kafka_url.removeprefix("kafka://")
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "20000000"})])
        admin.close()
        foreign = KafkaProducer(bootstrap_servers=servers, max_request_size=20_000_000)
        written: Counter[str] = Counter()
        for start in range(0, EVENTS, 100):
            write(log, values[start : start + 100])
            reason = reasons[start // 100]
            foreign.send(topic, poison[reason], key=b"u1", partition=1).get(60)
            written[reason.split(",")[0]] += 1
        foreign.close()
        metrics = Metrics(CollectorRegistry())
        with running(kafka_url, asked, tmp_path, metrics):
            found = all_gated(log, EVENTS)
            wait_for(lambda: len(letters(log)) >= sum(written.values()))
        assert Counter(g["event_id"] for g in found) == Counter(v["event_id"] for v in values)
        assert Counter(letter["reason"] for letter in letters(log)) == written
        offsets = {r.offset for r in read(log, INTERACTIONS, 1)}
        for letter in letters(log):
            assert (letter["topic"], letter["partition"]) == (INTERACTIONS, 1)
            assert letter["offset"] in offsets
        assert count(metrics, "dead_letters_total") == sum(written.values())
