"""A saved log put on a broker, each record at the offset that it had.

Records name each other by offset: revisions, windows of edits, positions of changelogs. A broker numbers by itself, so
what lay between two records (markers of transactions, records that compaction or an abort removed) is written anew
(`offsets`). While a topic is filled, the broker takes the stamps as they come, deletes and compacts nothing; then the
topic gets the settings of every pipeline, and retention counts from when the records were first written.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from kafka import KafkaAdminClient, OffsetAndMetadata
from kafka import TopicPartition as Where
from kafka.admin import ConfigResource
from kafka.errors import NoError

from pipeline.config import LogSettings
from pipeline.errors import LogError
from pipeline.streams.interface import Topic, TopicPartition, UnavailableError
from pipeline.streams.kafka.admin import DAY, PAUSE, TopicAdmin, configs
from pipeline.streams.kafka.config import Connection, make_client, parse_url
from pipeline.streams.kafka.errors import translated
from pipeline.streams.kafka.offsets import PartitionFiller
from pipeline.streams.kafka.reader import ReaderPool
from pipeline.streams.sqlite.saved import SavedLog

WHILE_FILLED = {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "CreateTime"}
"""Settings of a topic that is being filled."""


def restore(saved: Path, url: str, settings: LogSettings) -> None:
    """Put a saved log on a broker.

    Args:
        saved: see `SavedLog`.
        url: `kafka://host:port[,host:port]`; none of the topics exists there under `log.prefix`.
        settings: of the log.

    Raises:
        LogError: a topic exists, the broker would delete unread records at once, or it numbered records otherwise.
        UnavailableError: the broker does not answer; what was written by then must be deleted.
    """
    with closing(SavedLog(saved)) as log, _administered(url, settings) as (connection, admin):
        topics = log.topics()
        there = TopicAdmin(admin, connection)
        _refuse_existing(there, topics, connection)
        _refuse_expired(log, topics, settings, time.time)
        with translated(f"the topics on {url}"):
            _create(admin, connection, topics)
            _fill(log, connection, admin)
            _settle(admin, connection, topics)
            for group, offsets in log.committed().items():
                there.retry(f"group {group}", partial(_commit, admin, connection, group, offsets))


@contextmanager
def _administered(url: str, settings: LogSettings) -> Iterator[tuple[Connection, KafkaAdminClient]]:
    connection = parse_url(url, settings)
    with translated(url):
        admin = make_client(KafkaAdminClient, connection.client())
    with closing(admin):
        yield connection, admin


def _refuse_existing(there: TopicAdmin, topics: Sequence[Topic], connection: Connection) -> None:
    existing = there.existing(topic.name for topic in topics)
    if existing:
        names = ", ".join(sorted(connection.named(topic.name) for topic in existing))
        raise LogError(
            f"{','.join(connection.servers)} has topics {names}, and a log is never overwritten: name a new log.prefix "
            f"(now {connection.settings.prefix!r}), or delete them"
        )


def _refuse_expired(log: SavedLog, topics: Sequence[Topic], settings: LogSettings, clock: Callable[[], float]) -> None:
    """Refuse records that a group has still to read, and that retention would delete before it does."""
    deleted = {topic.name for topic in topics if topic.kept == "while needed"}
    oldest = 1000 * clock() - settings.retention_days * DAY
    for group, offsets in log.committed().items():
        for (topic, partition), offset in offsets.items():
            stamp = log.written_after(topic, partition, offset) if topic in deleted else None
            if stamp is not None and stamp < oldest:
                raise LogError(
                    f"{topic}/{partition} has records from offset {offset} on that no {group} has read, and that are "
                    f"older than log.retention_days ({settings.retention_days:g}), so that a broker deletes them at "
                    "once: restore with a larger log.retention_days"
                )


def _create(admin: KafkaAdminClient, connection: Connection, topics: Sequence[Topic]) -> None:
    new = {
        connection.named(topic.name): {
            "num_partitions": topic.partitions,
            "replication_factor": connection.settings.replication_factor,
            "configs": configs(topic, connection.settings) | WHILE_FILLED,
        }
        for topic in topics
    }
    admin.create_topics(new, wait_for_metadata=True)


def _fill(log: SavedLog, connection: Connection, admin: KafkaAdminClient) -> None:
    with closing(ReaderPool(connection)) as readers, closing(PartitionFiller(connection, admin, readers)) as filler:
        for (topic, partition), bounds in log.bounds().items():
            filler.fill(Where(connection.named(topic), partition), log.records(topic, partition), *bounds)


def _commit(admin: KafkaAdminClient, connection: Connection, group: str, offsets: Mapping[TopicPartition, int]) -> None:
    wanted = {Where(connection.named(topic), n): OffsetAndMetadata(at, "", -1) for (topic, n), at in offsets.items()}
    for error in admin.alter_group_offsets(connection.named(group), wanted).values():
        if error is not NoError:
            raise error()


def _settle(admin: KafkaAdminClient, connection: Connection, topics: Sequence[Topic]) -> None:
    """Give the topics the settings of every pipeline, and wait until the broker shows them."""
    unset = dict.fromkeys(WHILE_FILLED, ("DELETE", None))
    admin.alter_configs(
        [
            ConfigResource("topic", connection.named(topic.name), unset | configs(topic, connection.settings))
            for topic in topics
        ]
    )
    deadline = time.monotonic() + connection.settings.commit_seconds
    while differ := [line for line in TopicAdmin(admin, connection).problems(topics) if " is kept " in line]:
        if time.monotonic() > deadline:
            raise UnavailableError(f"the topics do not get their settings: {differ[0]}")
        time.sleep(PAUSE)
