"""Three nodes: each record is on three of them and is safe once two have it, so one may go."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.logs import UnavailableError, open_log
from tests.broker import Broker, need_kafka, settings
from tests.logs.conftest import TOPICS
from tests.logs.test_laws import drain, everything, numbers, write


@pytest.fixture
def three_nodes(tmp_path: Path) -> Iterator[Broker]:
    need_kafka()
    cluster = Broker(tmp_path / "kafka", nodes=3)
    yield cluster
    cluster.stop()


def test_a_cluster_goes_on_without_one_node_and_accepts_nothing_without_two(three_nodes: Broker) -> None:
    asked = settings(replication_factor=3, commit_seconds=60.0, close_seconds=1.0)
    with closing(open_log(three_nodes.start(), asked)) as log:
        log.create_topics(TOPICS)
        write(log, "one", range(100))
        three_nodes.kill(1)
        write(log, "one", range(100, 200))
        assert numbers(drain(log.consumer("g", ["one"], "a"))) == list(range(200))
        three_nodes.kill(2)
        hasty = asked.model_copy(update={"commit_seconds": 5.0})
        with pytest.raises(UnavailableError), closing(open_log(three_nodes.url, hasty)) as impatient:
            write(impatient, "one", [-1])
        three_nodes.start()
        write(log, "one", [200])
        assert numbers(everything(log, "one")) == list(range(201))
