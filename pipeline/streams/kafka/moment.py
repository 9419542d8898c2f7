"""A moment of a running pipeline on a broker: ends of partitions and committed offsets that belong together.

A stage writes its outputs and its offsets in one transaction, of which a broker shows the parts one after another. A
moment has for each stage all parts of its transactions or none. To find one, without holding up any stage:

1. the committed offsets of all groups; the broker answers once no commit of them is pending;
2. the ends of what is committed, then the ends of all records, of every topic that stages write;
3. the committed offsets again.

No transaction lies across the moment if 1 and 3 are equal (no stage has committed in between) and both ends of 2 are
equal (no transaction was open). Else all of it is repeated. Topics that anybody may write all the time are read last,
up to where everything written by then is decided: records that came after the moment are read as new ones later, and a
gate knows those by their event ids that another gate has sent on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer
from kafka import TopicPartition as Where
from kafka.admin import OffsetSpec

from pipeline.streams.interface import Topic, TopicPartition, UnavailableError
from pipeline.streams.kafka.config import Connection, make_client, milliseconds
from pipeline.streams.kafka.errors import translated
from pipeline.streams.topics import FEEDBACK, INTERACTIONS, groups_of, topic_of

WRITTEN_BY_ALL = (INTERACTIONS, FEEDBACK)
"""Topics in which a transaction is open all the time, perhaps."""

NAP = 0.005
"""Seconds between two attempts."""

READ_COMMITTED = "read_committed"

Committed = Mapping[str, Mapping[TopicPartition, int]]
"""Group -> partition -> committed offset."""


@dataclass(frozen=True)
class Moment:
    """Ends of all partitions, and committed offsets of all groups."""

    ends: Mapping[TopicPartition, int]
    committed: Committed


class MomentFinder:
    """Finds a moment.

    Args:
        connection: the broker.
        admin: its client.
        topics: topics of the pipeline, as they are on the broker.
        clock: monotonic seconds.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        connection: Connection,
        admin: KafkaAdminClient,
        topics: Sequence[Topic],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection, self._admin, self._topics = connection, admin, topics
        self._clock, self._sleep = clock, sleep

    def find(self) -> Moment:
        """Find a moment, within `log.commit_seconds`.

        Raises:
            UnavailableError: there was none: a transaction stays open, or commits leave no gap.
        """
        theirs = [topic for topic in self._topics if topic_of(topic.name) not in WRITTEN_BY_ALL]
        deadline = self._clock() + self._connection.settings.commit_seconds
        with translated("the moment of a backup"), closing(_Groups(self._connection, self._topics)) as groups:
            while True:
                before = groups.committed()
                decided, written = self._ends(theirs, READ_COMMITTED), self._ends(theirs)
                if decided == written and groups.committed() == before:
                    return Moment(decided | self._decided(deadline), before)
                if self._clock() > deadline:
                    raise self._none(decided, written)
                self._sleep(NAP)

    def _decided(self, deadline: float) -> dict[TopicPartition, int]:
        """Ends of the topics that anybody writes, once everything before them is decided."""
        theirs = [topic for topic in self._topics if topic_of(topic.name) in WRITTEN_BY_ALL]
        written = self._ends(theirs)
        while True:
            decided = self._ends(theirs, READ_COMMITTED)
            if all(decided[where] >= end for where, end in written.items()):
                return decided
            if self._clock() > deadline:
                raise self._none(decided, written)
            self._sleep(NAP)

    def _ends(self, topics: Sequence[Topic], level: str = "read_uncommitted") -> dict[TopicPartition, int]:
        wanted = {self._where(topic.name, n): (topic.name, n) for topic in topics for n in range(topic.partitions)}
        found = self._admin.list_partition_offsets(dict.fromkeys(wanted, OffsetSpec.LATEST), isolation_level=level)
        return {wanted[where]: int(at.offset) for where, at in found.items()}

    def _where(self, topic: str, partition: int) -> Where:
        return Where(self._connection.named(topic), partition)

    def _none(self, decided: Mapping[TopicPartition, int], written: Mapping[TopicPartition, int]) -> UnavailableError:
        open_ = ", ".join(f"{topic}/{n}" for (topic, n), end in written.items() if decided[topic, n] < end)
        seconds = self._connection.settings.commit_seconds
        why = f"a transaction was open on {open_}" if open_ else "stages committed without a gap"
        return UnavailableError(
            f"no moment of the pipeline was found in {seconds:g} s: {why}. Try again, with a larger log.commit_seconds "
            "or while less comes in"
        )


class _Groups:
    """Readers of the committed offsets of all groups, that wait while a commit of them is pending."""

    def __init__(self, connection: Connection, topics: Sequence[Topic]) -> None:
        self._timeout = milliseconds(connection.settings.commit_seconds)
        groups = groups_of(topic.name for topic in topics)
        self._clients = {
            group: make_client(KafkaConsumer, connection.reader() | {"group_id": connection.named(group)})
            for group in groups
        }
        self._wanted = {
            group: {
                Where(connection.named(topic.name), number): (topic.name, number)
                for topic in topics
                for number in range(topic.partitions)
                if topic.name in read
            }
            for group, read in groups.items()
        }

    def committed(self) -> Committed:
        return dict(self._read())

    def close(self) -> None:
        for client in self._clients.values():
            client.close(autocommit=False, timeout_ms=self._timeout)

    def _read(self) -> Iterator[tuple[str, Mapping[TopicPartition, int]]]:
        for group, wanted in self._wanted.items():
            # Of all partitions in one request; the client's public call takes one partition.
            found = self._clients[group]._coordinator.fetch_committed_offsets(list(wanted), timeout_ms=self._timeout)
            yield group, {wanted[where]: at.offset for where, at in found.items() if at.offset >= 0}
