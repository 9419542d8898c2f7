"""Three nodes: each record is on three of them and is safe once two have it, so one may go."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.streams import UnavailableError, open_log
from tests.broker import Broker, need_kafka, settings
from tests.streams.conftest import TOPICS
from tests.streams.test_kafka_log import relay
from tests.streams.test_laws import everything, numbers, write

EVENTS = 1000


@pytest.fixture
def three_nodes(tmp_path: Path) -> Iterator[Broker]:
    need_kafka()
    cluster = Broker(tmp_path / "kafka", nodes=3)
    yield cluster
    cluster.stop()


def test_a_cluster_goes_on_without_one_node_and_accepts_nothing_without_two(three_nodes: Broker) -> None:
    patient = settings(replication_factor=3, commit_seconds=60.0, close_seconds=1.0)
    hasty = patient.model_copy(update={"commit_seconds": 5.0})
    with closing(open_log(three_nodes.start(), patient)) as log, ThreadPoolExecutor(1) as pool:
        log.create_topics(TOPICS)
        write(log, "one", range(EVENTS))
        with closing(open_log(three_nodes.url, hasty)) as other:
            moving = pool.submit(relay, other, log.end_offset("one", 0))
            time.sleep(1.0)
            three_nodes.kill(1)
            moving.result(timeout=240)
    three_nodes.kill(2)
    with pytest.raises(UnavailableError), closing(open_log(three_nodes.url, hasty)) as alone:
        write(alone, "one", [-1])
    three_nodes.start()
    with closing(open_log(three_nodes.url, patient)) as log:
        write(log, "one", [EVENTS])
        assert numbers(everything(log, "one")) == list(range(EVENTS + 1))
        assert numbers(everything(log, "many")) == list(range(EVENTS))
