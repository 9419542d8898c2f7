"""A gate goes on whatever records anyone has written into a topic that is not the state of the stages."""

from pathlib import Path
from random import Random

from pipeline.streams import SqliteLog
from pipeline.streams.topics import DEAD_LETTERS, GATED, INTERACTIONS, ITEMS, REGIONS, USERS, pipeline_topics
from tests.consumers.gating import PARTITIONS, changed, events, gate_loop, gated, read, said, write
from tests.random_records import flood

GOOD = {
    INTERACTIONS: {**said(events()[1][0]), "user_id": "somebody"},
    ITEMS: {"item_id": "i1", "title": "Heat", "expires": 2e9},
}

STATE = (GATED, USERS, REGIONS)
"""Topics from which a gate restores what it knows: a record of another program in these stops it with an error."""


def test_a_gate_survives_any_record_of_other_topics(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    log.create_topics(pipeline_topics(PARTITIONS))
    stream = [said(event) for event in events()[1][:30]]
    for part in (stream[:15], stream[15:]):
        for topic in sorted({topic.name for topic in pipeline_topics()} - {*STATE}):
            flood(log, topic, [GOOD.get(topic, {"kind": "x"})], 250, Random(topic))
        write(log, part)
        gate_loop(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0), tmp_path, changed()).run()
    assert {event["event_id"] for event in stream} <= {record["event_id"] for record in gated(log)}
    assert len({(record.value or {}).get("reason") for record in read(log, DEAD_LETTERS)}) > 8
