"""Consumer of a Kafka group: partitions take turns, and no offset is skipped silently.

Membership is static: `instance` identifies the member over restarts, so a restart within the session moves no
partition. The client's own buffer returns one partition's records after another's; the buffer here interleaves them.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, count
from typing import Any

from kafka import ConsumerGroupMetadata, KafkaAdminClient, KafkaConsumer
from kafka import TopicPartition as Where
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from pipeline.errors import LogError
from pipeline.streams.checks import fenced_consumer, lost_records
from pipeline.streams.interface import Record, Topic, TopicPartition
from pipeline.streams.kafka.abandoned import AbandonedTransactions
from pipeline.streams.kafka.config import Connection, make_client, milliseconds
from pipeline.streams.kafka.errors import translated
from pipeline.streams.kafka.group_join import RebalanceListener, fenced, keep_join
from pipeline.streams.kafka.serialization import decode_record

AHEAD = 2048
"""Records to fetch while the buffer has fewer than a poll may return, so that partitions can take turns."""


class BrokerConsumer:
    """A `Consumer` of a broker.

    Attributes:
        group: name of its group.
        instance: name of the member, the same over restarts.
        closed: True once it has left its group.
    """

    def __init__(
        self, connection: Connection, admin: KafkaAdminClient, group: str, topics: Sequence[Topic], instance: str
    ) -> None:
        self.group = group
        self.instance = instance
        self._connection = connection
        self._admin = admin
        self._abandoned = AbandonedTransactions(connection, group, instance)
        self._ours = {connection.named(topic.name): topic.name for topic in topics}
        self._held: dict[TopicPartition, Where] = {}
        self._claims: dict[TopicPartition, int] = {}
        self._claimed = count()
        self._fetched: dict[TopicPartition, deque[Any]] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0
        self.closed = False
        self._listener = RebalanceListener({connection.named(topic.name): topic.partitions for topic in topics})
        sharing = {"partition_assignment_strategy": [self._listener.assignor]}
        settings = connection.reader() | connection.member(group, instance) | sharing
        self._consumer = make_client(KafkaConsumer, settings)
        self._consumer.subscribe(list(self._ours), listener=self._listener)

    @property
    def assignment(self) -> list[TopicPartition]:
        """See `Consumer.assignment`."""
        return sorted(self._held)

    def claims(self) -> dict[TopicPartition, int]:
        """See `Consumer.claims`."""
        return dict(self._claims)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """See `Consumer.poll`."""
        if self.closed:
            raise LogError(f"consumer {self.instance} of group {self.group} is closed")
        ready = sum(len(self._fetched[where]) for where in self._held.keys() - self._paused)
        wait = 0.0 if ready else timeout
        with translated(self._name()):
            self._fetch(wait, max_records if ready >= max_records else max(max_records, AHEAD))
        if fenced(self._consumer):
            raise fenced_consumer(self.group, self.instance)
        return self._take_turns(max_records)

    def position(self, topic: str, partition: int) -> int:
        """See `Consumer.position`."""
        where = self._assigned(topic, partition)
        if self._fetched[where]:
            return int(self._fetched[where][0].offset)
        # The client's position lies beyond transaction markers that no record follows yet.
        return int(self._consumer.position(self._held[where]))

    def committed(self, topic: str, partition: int) -> int:
        """See `Consumer.committed`."""
        where = Where(self._connection.named(topic), partition)
        with translated(self._name()):
            committed = self._consumer.committed(where, timeout_ms=self._deadline())
            return self._first(where) if committed is None else int(committed)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See `Consumer.seek`."""
        if offset < 0:
            raise LogError(f"offset {offset} of {topic}/{partition} does not exist; the first is 0")
        where = self._assigned(topic, partition)
        self._fetched[where].clear()
        self._consumer.seek(self._held[where], offset)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        wanted = {self._assigned(*where) for where in partitions}
        self._paused |= wanted
        self._consumer.pause(*(self._held[where] for where in wanted))

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        wanted = self._paused & set(partitions)
        self._paused -= wanted
        self._consumer.resume(*(self._held[where] for where in wanted))

    def lag(self) -> int:
        """See `Consumer.lag`."""
        read = {name: where for name, where in self._held.items() if name not in self._paused}
        with translated(self._name()):
            ends = self._consumer.end_offsets(list(read.values()), timeout_ms=self._deadline())
        return sum(max(0, ends[where] - self.position(*name)) for name, where in read.items())

    def close(self) -> None:
        """See `Consumer.close`."""
        if self.closed:
            return
        self.closed = True
        self._held, self._fetched, self._paused = {}, {}, set()
        membership = self.membership()
        if membership.member_id:
            # A static member that only goes silent keeps its partitions until its session ends. The member id is given
            # besides the instance, so that a newer consumer of this instance is not removed.
            leaving = MemberToRemove(member_id=membership.member_id, group_instance_id=self.instance)
            self._ignore_errors(lambda: self._admin.remove_group_members(membership.group_id, [leaving]))
        seconds = self._connection.settings.close_seconds
        self._ignore_errors(lambda: self._consumer.close(timeout_ms=milliseconds(seconds)))

    def membership(self) -> ConsumerGroupMetadata:
        """Return the membership that a commit includes; the broker refuses a stale one."""
        return self._consumer.group_metadata()

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset to read of each assigned partition."""
        return {where: self.position(*where) for where in self._held}

    def _fetch(self, timeout: float, limit: int) -> None:
        keep_join(self._consumer)
        poll = partial(self._consumer.poll, timeout_ms=math.ceil(timeout * 1000), max_records=limit)
        try:
            found = poll()
        except NoOffsetForPartitionError:
            self._apply_assignment()  # the group is new; this sets its start
            found = poll()
        except OffsetOutOfRangeError as error:
            self._apply_assignment()
            raise self._lost(error) from error
        self._apply_assignment()
        for where, records in found.items():
            name = self._named(where)
            if name in self._fetched:
                self._fetched[name].extend(records)

    def _apply_assignment(self) -> None:
        """Apply the group's assignment since the last poll."""
        if not self._consumer.assignment() <= set(self._held.values()):
            # Before positions are asked for: those of an open transaction are not told.
            self._abandoned.end()
        now = {self._named(where): where for where in self._consumer.assignment() if self._has_position(where)}
        gone = {self._named(where) for where in self._listener.revoked}
        self._listener.revoked.clear()
        kept = (now.keys() & self._held.keys()) - gone
        self._paused &= kept
        self._fetched = {where: self._fetched[where] if where in kept else deque() for where in now}
        self._claims = {where: self._claims[where] if where in kept else next(self._claimed) for where in sorted(now)}
        self._held = now

    def _has_position(self, where: Where) -> bool:
        """Set the position of a new partition; return False while the broker has not answered."""
        try:
            return self._consumer.position(where, timeout_ms=self._deadline()) is not None
        except NoOffsetForPartitionError as error:
            # The first record kept, set explicitly: the client's default would skip lost records silently.
            for missing in chain.from_iterable(error.args):
                self._consumer.seek(missing, self._first(missing))
            return True

    def _take_turns(self, limit: int) -> list[Record]:
        turns = deque(sorted(self._held.keys() - self._paused))
        # Each turn starts with another partition, so that none starves while `limit` is below their number.
        turns.rotate(-self._turn)
        self._turn += 1
        records: list[Record] = []
        while turns and len(records) < limit:
            where = turns.popleft()
            if self._fetched[where]:
                records.append(decode_record(where[0], self._fetched[where].popleft()))
                turns.append(where)
        return records

    def _lost(self, error: OffsetOutOfRangeError) -> LogError:
        where, position = next(iter(error.args[0].items()))
        first = self._first(where)
        if position < first:
            # By the names that the broker knows, prefix included.
            return lost_records(self._connection.named(self.group), where, position, first)
        return LogError(
            f"group {self._connection.named(self.group)} is at offset {position} of {where.topic}/{where.partition}, "
            f"which does not exist (the first is {first}): was the topic recreated? Begin anew with another log.prefix"
        )

    def _first(self, where: Where) -> int:
        return int(self._consumer.beginning_offsets([where], timeout_ms=self._deadline())[where])

    def _assigned(self, topic: str, partition: int) -> TopicPartition:
        if (topic, partition) not in self._held:
            raise LogError(f"{topic}/{partition} is not assigned to {self.instance} of group {self.group}: poll first")
        return topic, partition

    def _named(self, where: Where) -> TopicPartition:
        return self._ours[where.topic], where.partition

    def _name(self) -> str:
        return f"consumer {self.instance} of group {self.group}"

    def _deadline(self) -> int:
        return milliseconds(self._connection.settings.commit_seconds)

    @staticmethod
    def _ignore_errors(act: Callable[[], object]) -> None:
        """Run an action of `close` and ignore Kafka's errors: the end of the session has the same effect later."""
        try:
            act()
        except KafkaError:
            return
