"""Administration of a broker's topics: creation, and comparison with the required ones.

Records are stamped by the broker on arrival, and retention uses that stamp: event time would delete an old dataset
as it is written, and one record of the year 2099 would keep a segment forever. Event time is stored in a header.
"""

import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import TopicAlreadyExistsError

from pipeline.config import LogSettings
from pipeline.errors import LogError
from pipeline.streams.checks import check_same, differences
from pipeline.streams.interface import Kept, Topic, TopicPartition, UnavailableError
from pipeline.streams.kafka.config import Connection
from pipeline.streams.kafka.errors import translated
from pipeline.streams.topics import topic_of

T = TypeVar("T")
"""Result of a request."""

DAY = 86_400_000
"""Milliseconds of a day."""

PAUSE = 0.1
"""Seconds between two requests to a cluster that does not answer, or has no metadata of its topics yet."""


class TopicAdmin:
    """Topics of a broker. Their number of partitions and retention are looked up once."""

    def __init__(self, admin: KafkaAdminClient, connection: Connection) -> None:
        self._admin = admin
        self._connection = connection
        self._known: dict[str, Topic] = {}

    def __getitem__(self, name: str) -> Topic:
        """Return a topic, or raise LogError if there is none of this name."""
        if name not in self._known:
            self._known |= {topic.name: topic for topic in self.existing([name])}
        if name not in self._known:
            raise LogError(f"there is no topic {name} on {self._servers()}; create it first (raie topics create)")
        return self._known[name]

    def partition(self, topic: str, partition: int) -> TopicPartition:
        """Return the broker's name of the topic and the partition, or raise LogError if it does not exist."""
        if not 0 <= partition < self[topic].partitions:
            raise LogError(f"there is no partition {partition} of topic {topic} on {self._servers()}")
        return self._connection.named(topic), partition

    def create(self, topics: Iterable[Topic]) -> None:
        """Create the missing topics.

        Raises:
            LogError: if a topic exists with other partitions or retention.
        """
        wanted = {topic.name: topic for topic in topics}
        existing = {topic.name: topic for topic in self.existing(wanted)}
        new = {
            self._connection.named(topic.name): {
                "num_partitions": topic.partitions,
                "replication_factor": self._connection.settings.replication_factor,
                "configs": configs(topic, self._connection.settings),
            }
            for topic in wanted.values()
            if topic.name not in existing
        }
        if new:
            self.retry(f"topics {', '.join(new)}", partial(self._create, new))
            existing = self.retry(self._servers(), partial(self._created, wanted))
        for name, topic in wanted.items():
            check_same(existing[name], topic)
            self._known[name] = topic

    def _create(self, new: dict[str, dict[str, Any]]) -> None:
        try:
            self._admin.create_topics(new, wait_for_metadata=True)
        except TopicAlreadyExistsError:  # created by another process, or by an earlier attempt whose answer was lost
            self._admin.wait_for_topics(list(new))

    def _created(self, names: Collection[str]) -> dict[str, Topic]:
        """Return topics that were just created; UnavailableError while the node has no metadata of one."""
        existing = {topic.name: topic for topic in self.existing(names)}
        if missing := sorted(set(names) - existing.keys()):
            raise UnavailableError(
                f"{self._servers()} accepted the creation of topics and has no {', '.join(missing)} yet"
            )
        return existing

    def delete(self, names: Iterable[str]) -> None:
        """Delete the topics of these names that exist."""
        there = [topic.name for topic in self.existing(names)]
        if there:
            full = [self._connection.named(name) for name in there]
            self.retry(f"deletion of {', '.join(full)}", partial(self._admin.delete_topics, full))
        for name in there:
            self._known.pop(name, None)

    def generations(self, names: Collection[str]) -> list[str]:
        """Return these names, and those of the same topics of other generations that exist on the broker."""
        found = self.retry(f"the topics on {self._servers()}", self._admin.list_topics)
        own = (name.removeprefix(self._connection.named("")) for name in found)
        return [*names, *sorted({name for name in own if topic_of(name) in names} - {*names})]

    def existing(self, names: Iterable[str]) -> list[Topic]:
        """Return the topics of these names that exist on the broker."""
        settings = self.described(names)
        return [Topic(name, partitions, _kept(found)) for name, (partitions, _, found) in settings.items()]

    def described(self, names: Iterable[str]) -> dict[str, tuple[int, int, dict[str, str]]]:
        """Return name -> (partitions, copies of each, settings) of the topics that exist on the broker."""
        by_full_name = {self._connection.named(name): name for name in names}
        found = self.retry(f"the topics on {self._servers()}", partial(self._described, list(by_full_name)))
        return {by_full_name[name]: facts for name, facts in found.items()}

    def _described(self, names: list[str]) -> dict[str, tuple[int, int, dict[str, str]]]:
        found = [topic for topic in self._admin.describe_topics(names) if not topic["error_code"]]
        if not found:
            return {}
        resources = [ConfigResource("topic", topic["name"]) for topic in found]
        settings = self._admin.describe_configs(resources, config_filter="all")["topic"]
        # The second request may reach another node than the first, one without metadata of the topics.
        if missing := ", ".join(sorted(topic["name"] for topic in found if not settings.get(topic["name"]))):
            raise UnavailableError(f"a node of {self._servers()} does not have the settings of {missing} yet")
        return {
            topic["name"]: (
                len(topic["partitions"]),
                min(len(partition["replica_nodes"]) for partition in topic["partitions"]),
                {key: str(each["value"]) for key, each in settings[topic["name"]].items()},
            )
            for topic in found
        }

    def retry(self, what: str, request: Callable[[], T]) -> T:
        """Repeat a request until a node answers, up to `log.commit_seconds`: the client tries one node only."""
        deadline = time.monotonic() + self._connection.settings.commit_seconds
        while True:
            try:
                with translated(what):
                    return request()
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)

    def problems(self, topics: Iterable[Topic]) -> list[str]:
        """Return the missing topics and those that would lose records, one line each."""
        wanted = {topic.name: topic for topic in topics}
        found = self.described(wanted)
        existing = {name: Topic(name, count, _kept(settings)) for name, (count, _, settings) in found.items()}
        problems = differences(existing, wanted.values())
        for name, (_, copies, settings) in found.items():
            problems += _losses(wanted[name], copies, settings, self._connection.settings)
        return problems

    def _servers(self) -> str:
        prefix = self._connection.settings.prefix
        return ",".join(self._connection.servers) + (f" with log.prefix {prefix}" if prefix else "")


def configs(topic: Topic, settings: LogSettings) -> dict[str, str]:
    """Return the broker settings of a topic."""
    kept = {
        "forever": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
        "while needed": {"cleanup.policy": "delete", "retention.ms": str(_retention(settings))},
        "compacted": {"cleanup.policy": "compact"},
    }[topic.kept]
    return kept | {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(settings.max_record_bytes),
        "min.insync.replicas": str(settings.replication_factor // 2 + 1),
    }


def _retention(settings: LogSettings) -> int:
    return round(settings.retention_days * DAY)


def _kept(settings: dict[str, str]) -> Kept:
    if "compact" in settings["cleanup.policy"]:
        return "compacted"
    return "forever" if settings["retention.ms"] == "-1" else "while needed"


def _losses(topic: Topic, copies: int, settings: dict[str, str], wanted: LogSettings) -> list[str]:
    """Return the settings of an existing topic that would lose or refuse records, one line each."""
    problems = []
    retention = int(settings["retention.ms"])
    if topic.kept == "while needed" and 0 <= retention < _retention(wanted):
        problems.append(
            f"topic {topic.name} keeps records for {retention / DAY:g} days, less than log.retention_days "
            f"({wanted.retention_days:g})"
        )
    if topic.kept != "compacted" and int(settings["retention.bytes"]) >= 0:
        problems.append(f"topic {topic.name} deletes records beyond {settings['retention.bytes']} bytes")
    if int(settings["max.message.bytes"]) < wanted.max_record_bytes:
        problems.append(
            f"topic {topic.name} takes records of {settings['max.message.bytes']} bytes, less than "
            f"log.max_record_bytes ({wanted.max_record_bytes})"
        )
    if copies < wanted.replication_factor:
        problems.append(f"topic {topic.name} has {copies} copies, fewer than {wanted.replication_factor}")
    return problems
