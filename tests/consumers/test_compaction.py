"""Compaction removes the records of an embedded log that newer ones replace."""

from pathlib import Path

from consumers.runtime.compaction import INTERVAL, Compaction
from pipeline.streams import SqliteLog
from pipeline.streams.topics import GATED, USERS, pipeline_topics
from tests.consumers.gating import read


def test_what_is_compacted_keeps_the_newest_of_each_key_and_all_else_stays(tmp_path: Path) -> None:
    now, said = [5.0], list[str]()
    log = SqliteLog(tmp_path / "log.sqlite")
    log.create_topics(pipeline_topics(1))
    with log.producer("gate").transaction() as transaction:
        for number in range(10):
            transaction.send(USERS, {"n": number}, key="ab"[number % 2], timestamp=0.0)
            transaction.send(GATED, {"n": number}, key="a", timestamp=0.0)
    compaction = Compaction(log.path, lambda: now[0], said.append, lambda _: 0)
    assert compaction() == 0, "not at once: stages are starting"
    now[0] += INTERVAL
    assert compaction() == 8
    assert compaction() == 0, "not again before it is time"
    assert [(r.key, r.value) for r in read(log, USERS)] == [("a", {"n": 8}), ("b", {"n": 9})]
    assert len(read(log, GATED)) == 10
    assert said == []
