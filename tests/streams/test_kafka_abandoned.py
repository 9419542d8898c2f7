"""Transactions that killed processes left open: the member that takes over ends them, and no others."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from pipeline.streams import GenerationLog, Log, UnavailableError
from pipeline.streams.interface import Topic
from pipeline.streams.kafka.abandoned import fence
from pipeline.streams.kafka.config import make_client
from pipeline.streams.kafka.log import KafkaLog
from pipeline.streams.topics import GATED, USERS, instance_of, producer_of
from tests.broker import settings
from tests.streams.test_laws import numbers, rebalance, write

PATIENCE = 60.0
"""Seconds after which the broker ends a transaction: longer than any reader here waits."""

SECOND, FOREIGN = f"{GATED}.2", "orders"
TOPICS = (Topic(GATED), Topic(USERS, 4))


@pytest.fixture
def log(kafka_url: str) -> Iterator[KafkaLog]:
    with closing(KafkaLog(kafka_url, settings(commit_seconds=5.0))) as log:
        later = [replace(topic, name=f"{topic.name}.2") for topic in TOPICS]
        log.create_topics([*TOPICS, *later, Topic(FOREIGN)])
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
    rebalance([4], log.consumer("g", [USERS], "a"))


def committed(log: Log, topic: str) -> list[object]:
    return numbers(log.read(topic, 0, 0, log.acknowledged_end(topic, 0)))


def test_a_transaction_of_an_instance_that_is_gone_is_ended(log: KafkaLog) -> None:
    producer = left_open(log, "g-killed", GATED)
    takes_over(log)
    write(log, GATED, [1])
    assert committed(log, GATED) == [1]
    producer.close(0)


@pytest.mark.parametrize(
    ("transactional_id", "topic"),
    [
        ("g-a", GATED),
        ("other-killed", GATED),
        ("g-killed.2", SECOND),
        ("feed", GATED),
        ("g-keeper-7", FOREIGN),
    ],
    ids=["of a member", "of another group", "of another generation", "of no group", "of another program"],
)
def test_every_other_transaction_is_left_alone(log: KafkaLog, transactional_id: str, topic: str) -> None:
    producer = left_open(log, transactional_id, topic)
    takes_over(log)
    with pytest.raises(UnavailableError, match="open"):
        log.acknowledged_end(topic, 0)
    producer.commit_transaction()
    assert committed(log, topic) == [9]
    producer.close(0)


def test_each_generation_ends_its_own(log: KafkaLog) -> None:
    producer = left_open(log, "g-killed.2", SECOND)
    takes_over(GenerationLog(log, 2))
    assert committed(log, SECOND) == []
    producer.close(0)


def test_a_process_that_has_come_back_meanwhile_is_not_replaced(log: KafkaLog) -> None:
    consumer = log.consumer("g", [USERS], "a")
    rebalance([4], consumer)
    producer = left_open(log, "g-killed", GATED)
    with closing(make_client(KafkaAdminClient, log._connection.client())) as admin:
        ((transactional_id, instance, found),) = consumer._abandoned.open_in(admin)
        assert instance == "killed"
        again = log.producer("g-killed")
        admin._manager.run(fence, admin, transactional_id, found)
    with again.transaction() as transaction:
        transaction.send(GATED, {"n": 3}, timestamp=0.0)
    assert committed(log, GATED) == [3]
    producer.close(0)


@pytest.mark.parametrize("group", ["gate", "gate.2"])
@pytest.mark.parametrize("instance", ["a", "gate-0", "host.2", ""])
def test_producers_are_named_by_group_and_instance(group: str, instance: str) -> None:
    assert instance_of(producer_of(group, instance), group) == instance
    assert instance_of("monitor-a", group) is None
