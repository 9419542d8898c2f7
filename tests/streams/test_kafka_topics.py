"""Topics of a cluster whose nodes learn of them one after the other."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaConnectionError

from pipeline.config import LogSettings
from pipeline.streams import UnavailableError
from pipeline.streams.interface import Topic
from pipeline.streams.kafka.admin import TopicAdmin, configs
from pipeline.streams.kafka.config import Connection

UNKNOWN_TOPIC = 3


class Node:
    """A node that has metadata of a topic only after a number of requests."""

    def __init__(self, topic: Topic, settings: LogSettings, after: int) -> None:
        self.requests = 0
        self.down = 0
        self.without_settings = 0
        self._topic, self._settings, self._after = topic, settings, after

    def describe_topics(self, names: Sequence[str]) -> list[dict[str, Any]]:
        self.requests += 1
        if self.requests <= self.down:
            raise KafkaConnectionError("111 ECONNREFUSED")
        known = self.requests > self._after
        partitions = [{"replica_nodes": [1]}] * self._topic.partitions
        return [{"name": name, "error_code": 0 if known else UNKNOWN_TOPIC, "partitions": partitions} for name in names]

    def describe_configs(self, resources: Sequence[Any], config_filter: str) -> dict[str, Any]:  # noqa: ARG002
        kept = {key: {"value": value} for key, value in configs(self._topic, self._settings).items()}
        if self.requests <= self.without_settings:
            kept = {}
        return {"topic": {resource.name: kept for resource in resources}}

    def create_topics(self, topics: object, wait_for_metadata: bool) -> None: ...


def topics_of(after: int, commit_seconds: float) -> tuple[TopicAdmin, Topic, Node]:
    settings = LogSettings(url="kafka://127.0.0.1:9", commit_seconds=commit_seconds)
    topic = Topic("one", 1, "forever", "")
    node = Node(topic, settings, after)
    return TopicAdmin(cast(KafkaAdminClient, node), Connection(("127.0.0.1:9",), settings)), topic, node


def test_topics_are_looked_for_until_the_node_that_is_asked_knows_them() -> None:
    topics, topic, node = topics_of(after=3, commit_seconds=60.0)
    topics.create([topic])
    assert topics["one"] == topic
    assert node.requests == 4


def test_topics_that_nobody_hears_of_are_named() -> None:
    topics, topic, _ = topics_of(after=1_000_000, commit_seconds=0.2)
    with pytest.raises(UnavailableError, match="no one yet"):
        topics.create([topic])


def test_where_a_node_is_down_another_is_asked() -> None:
    topics, topic, node = topics_of(after=0, commit_seconds=60.0)
    node.down = 2
    assert topics.existing(["one"]) == [topic]
    assert node.requests == 3


def test_settings_are_asked_for_until_the_node_that_is_asked_knows_them() -> None:
    topics, topic, node = topics_of(after=0, commit_seconds=60.0)
    node.without_settings = 2
    assert topics.existing(["one"]) == [topic]
    assert node.requests == 3


def test_settings_that_nobody_hears_of_are_named() -> None:
    topics, _, node = topics_of(after=0, commit_seconds=0.2)
    node.without_settings = 1_000_000
    with pytest.raises(UnavailableError, match="does not have the settings of one yet"):
        topics.existing(["one"])


def test_a_cluster_of_which_no_node_answers_is_given_up_in_time() -> None:
    topics, _, node = topics_of(after=0, commit_seconds=0.3)
    node.down = 1_000_000
    with pytest.raises(UnavailableError, match="is it running"):
        topics.existing(["one"])
    assert node.requests > 1
