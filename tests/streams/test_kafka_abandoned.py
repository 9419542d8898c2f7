"""Transactions that killed processes left open: the member that takes over ends them, and no others."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from kafka import KafkaProducer

from pipeline.streams import GenerationLog, Log, UnavailableError
from pipeline.streams.kafka.log import KafkaLog
from pipeline.streams.topics import instance_of, producer_of
from tests.broker import settings
from tests.streams.conftest import TOPICS
from tests.streams.test_laws import numbers, rebalance, write

PATIENCE = 60.0
"""Seconds after which the broker ends a transaction: longer than any reader here waits."""


@pytest.fixture
def log(kafka_url: str) -> Iterator[KafkaLog]:
    with closing(KafkaLog(kafka_url, settings(commit_seconds=5.0))) as log:
        log.create_topics([*TOPICS, *(replace(topic, name=f"{topic.name}.2") for topic in TOPICS)])
        yield log


def left_open(log: KafkaLog, transactional_id: str, topic: str) -> KafkaProducer:
    """A producer that has written and does neither commit nor abort, as one that was killed then."""
    connection = log._connection
    asked = {**connection.producer(transactional_id), "transaction_timeout_ms": int(1000 * PATIENCE)}
    producer = KafkaProducer(**asked)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(connection.named(topic), b'{"n":9}', partition=0)
    producer.flush(20)
    return producer


def takes_over(log: Log) -> None:
    """A member of group `g` comes, and is given its partitions."""
    rebalance([4], log.consumer("g", ["many"], "a"))


def test_a_transaction_of_an_instance_that_is_gone_is_ended(log: KafkaLog) -> None:
    producer = left_open(log, "g-killed", "one")
    takes_over(log)
    write(log, "one", [1])
    assert numbers(log.read("one", 0, 0, log.acknowledged_end("one", 0))) == [1]
    producer.close(0)


@pytest.mark.parametrize(
    ("transactional_id", "topic"),
    [("g-a", "one"), ("other-killed", "one"), ("g-killed.2", "one.2"), ("feed", "one")],
    ids=["of a member", "of another group", "of another generation", "of no group"],
)
def test_every_other_transaction_is_left_alone(log: KafkaLog, transactional_id: str, topic: str) -> None:
    producer = left_open(log, transactional_id, topic)
    takes_over(log)
    with pytest.raises(UnavailableError, match="open"):
        log.acknowledged_end(topic, 0)
    producer.commit_transaction()
    assert numbers(log.read(topic, 0, 0, log.acknowledged_end(topic, 0))) == [9]
    producer.close(0)


def test_each_generation_ends_its_own(log: KafkaLog) -> None:
    producer = left_open(log, "g-killed.2", "one.2")
    takes_over(GenerationLog(log, 2))
    assert numbers(log.read("one.2", 0, 0, log.acknowledged_end("one.2", 0))) == []
    producer.close(0)


def test_a_process_that_has_come_back_meanwhile_is_not_replaced(log: KafkaLog) -> None:
    producer = left_open(log, "g-killed", "one")
    consumer = log.consumer("g", ["many"], "a")
    ending = consumer._abandoned
    rebalance([4], consumer)
    assert list(ending._open()) == []
    producer.close(0)
    producer = left_open(log, "g-killed", "one")
    (seen,) = ending._open()
    again = log.producer("g-killed")
    log._admin._manager.run(ending._fence, *seen)
    with again.transaction() as transaction:
        transaction.send("one", {"n": 3}, timestamp=0.0)
    assert numbers(log.read("one", 0, 0, log.acknowledged_end("one", 0))) == [3]
    producer.close(0)


@pytest.mark.parametrize("group", ["gate", "gate.2"])
@pytest.mark.parametrize("instance", ["a", "gate-0", "host.2", ""])
def test_producers_are_named_by_group_and_instance(group: str, instance: str) -> None:
    assert instance_of(producer_of(group, instance), group) == instance
    assert instance_of("monitor-a", group) is None
