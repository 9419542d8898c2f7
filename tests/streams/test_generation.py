"""Generations of a log: own topics and groups, shared interactions, and what each writes there for itself."""

from collections.abc import Sequence

import pytest

from pipeline.streams import GenerationLog, Log, MemoryLog, Record
from pipeline.streams.topics import (
    GATED,
    GROUPS,
    INTERACTIONS,
    ITEMS,
    OWN_KEY,
    groups_of,
    name_in,
    pipeline_topics,
    topic_of,
)


@pytest.fixture
def logs() -> tuple[GenerationLog, GenerationLog]:
    """The first two generations of one log."""
    whole = MemoryLog()
    first, second = (GenerationLog(whole, number) for number in (1, 2))
    for log in (first, second):
        log.create_topics(pipeline_topics(partitions=2))
    return first, second


def write(log: Log, topic: str, key: str) -> None:
    with log.producer("test").transaction() as transaction:
        transaction.send(topic, {}, key=key, timestamp=0.0)
    assert transaction.offsets[0][0] == topic


def everything(log: Log, topic: str) -> list[Record]:
    return [r for p in range(log.topic(topic).partitions) for r in log.read(topic, p, 0, log.end_offset(topic, p))]


def keys(records: Sequence[Record]) -> list[str | None]:
    return [record.key for record in records]


def test_events_are_shared_and_everything_else_is_not(logs: tuple[GenerationLog, GenerationLog]) -> None:
    first, second = logs
    for topic in (INTERACTIONS, GATED):
        write(first, topic, "by one")
        write(second, topic, "by two")
    assert keys(everything(first, INTERACTIONS)) == keys(everything(second, INTERACTIONS)) == ["by one", "by two"]
    assert keys(everything(first, GATED)) == ["by one"]
    (record,) = everything(second, GATED)
    assert (record.topic, record.key) == (GATED, "by two")
    assert first.whole.topic("gated.2").partitions == 1


def test_each_group_has_its_own_positions(logs: tuple[GenerationLog, GenerationLog]) -> None:
    first, second = logs
    write(first, INTERACTIONS, "ann")
    consumer = second.consumer("gate", (INTERACTIONS,), "g")
    assert keys(consumer.poll(5, 0.1)) == ["ann"]
    with second.producer("gate-g").transaction() as transaction:
        transaction.commit_offsets(consumer)
    read = [[log.committed("gate", INTERACTIONS, p) for p in range(2)] for log in logs]
    assert (read[0], sum(read[1])) == ([0, 0], 1)


def test_what_a_generation_says_of_an_item_is_read_by_it_alone(logs: tuple[GenerationLog, GenerationLog]) -> None:
    first, second = logs
    write(first, ITEMS, "i1")
    write(first, ITEMS, f"{OWN_KEY}i1")
    write(second, ITEMS, f"{OWN_KEY}i1")
    third = GenerationLog(first.whole, 22)
    assert keys(everything(first, ITEMS)) == ["i1", f"{OWN_KEY}i1"]
    assert [r.offset for r in everything(second, ITEMS)] == [0, 2]
    assert keys(everything(second, ITEMS)) == ["i1", f"{OWN_KEY}i1"]
    assert keys(everything(third, ITEMS)) == ["i1"]
    # An eviction by one does not replace an arrival by the other where the topic is compacted.
    assert len(set(keys(everything(MemoryView(first.whole), ITEMS)))) == 3


class MemoryView(GenerationLog):
    """The whole log, read as it is."""

    def __init__(self, log: Log) -> None:
        super().__init__(log, 1)
        self.read = log.read  # type: ignore[method-assign]


def test_names_are_those_of_a_log_without_generations_in_the_first() -> None:
    names = [topic.name for topic in pipeline_topics()]
    assert [name_in(1, name) for name in names] == names
    later = [name_in(12, name) for name in names]
    assert [topic_of(name) for name in later] == names and "gated.12" in later
    assert groups_of([*names, *later]).keys() == {*GROUPS, *(f"{group}.12" for group in GROUPS)}
    assert groups_of(later)["gate.12"] == {INTERACTIONS}
