"""An edit reads the windows that it names, and no others."""

from collections.abc import Iterator

import pytest

from pipeline.events.edit import Evidence
from pipeline.events.gated import EvidenceError, read_events
from pipeline.streams import MemoryLog, Record, RecordsLostError
from pipeline.streams.topics import GATED, pipeline_topics
from tests.gated import gated_event


class CountingLog(MemoryLog):
    """A log that counts the records that are read."""

    records_read = 0

    def scan(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        for record in super().scan(topic, partition, start, end):
            self.records_read += 1
            yield record


@pytest.fixture
def log() -> CountingLog:
    log = CountingLog()
    log.create_topics(pipeline_topics(1))
    with log.producer("gate").transaction() as transaction:
        for n in range(1_000):
            event = gated_event(event_id=f"e{n}", timestamp=float(n))
            transaction.send(GATED, event.to_record(), key="u", partition=0, timestamp=event.timestamp)
    return log


def of(*numbers: int) -> list[Evidence]:
    return [Evidence(f"e{n}", n, 7) for n in numbers]


def test_only_the_records_of_the_evidence_are_read_each_once(log: CountingLog) -> None:
    events = read_events(log, of(999, 0, 500, 999), [])
    assert [event.event_id for event in events] == ["e0", "e500", "e999"]
    assert log.records_read == 3
    assert read_events(log, [], []) == []


def test_evidence_of_another_log_or_that_is_deleted_is_an_error(log: CountingLog) -> None:
    with pytest.raises(EvidenceError, match=r"event e7 at offset 8 any more \(1 of 2 windows differ\)"):
        read_events(log, [*of(3), Evidence("e7", 8, 7)], [])
    log.delete_before(GATED, 0, 100)
    with pytest.raises(RecordsLostError, match=r"offsets 3\.\.3 of"):
        read_events(log, of(3, 500), [])
