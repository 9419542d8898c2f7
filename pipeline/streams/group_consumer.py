"""Consumer of the memory log and the SQLite log: positions, pauses and turns of a group member."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pipeline.errors import LogError
from pipeline.streams.checks import lost_records
from pipeline.streams.interface import Record, TopicPartition

NAP = 0.02
"""Seconds between two polls of an idle log."""


class Source(Protocol):
    """Interface of a log for its group members."""

    def join(self, group: str, topics: Sequence[str], instance: str) -> str:
        """Enter the group in place of any older member of this instance; return a unique token."""

    def held(self, group: str, token: str) -> Mapping[TopicPartition, int]:
        """Renew the membership, release and claim partitions as due; return partition -> claim of the member."""

    def leave(self, group: str, token: str) -> None:
        """Release all partitions of the member."""

    def committed(self, group: str, topic: str, partition: int) -> int:
        """Return the group's committed offset, or the first kept if there is none."""

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset kept and the end offset."""

    def scan(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Return the records with start <= offset < end, by offset."""


class GroupConsumer:
    """A `Consumer` over a source.

    Attributes:
        group: name of its group.
        instance: name of the member, the same over restarts.
        token: unique id of this member.
        source: log that it reads.
    """

    def __init__(
        self,
        source: Source,
        group: str,
        topics: Sequence[str],
        instance: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.group = group
        self.instance = instance
        self.source = source
        self.token = source.join(group, topics, instance)
        self._sleep = sleep
        self._claims: dict[TopicPartition, int] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0
        self._closed = False

    @property
    def assignment(self) -> list[TopicPartition]:
        """See `Consumer.assignment`."""
        return sorted(self._claims)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """See `Consumer.poll`."""
        waited = 0.0
        while True:
            self._refresh()
            records = self._fetch(max_records)
            # The waits are summed instead of read from a clock, so that a stopped clock in a test does not block.
            if records or waited >= timeout:
                return records
            nap = min(NAP, timeout - waited)
            self._sleep(nap)
            waited += nap

    def position(self, topic: str, partition: int) -> int:
        """See `Consumer.position`."""
        return self._positions[self._assigned(topic, partition)]

    def committed(self, topic: str, partition: int) -> int:
        """See `Consumer.committed`."""
        return self.source.committed(self.group, topic, partition)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See `Consumer.seek`."""
        if offset < 0:
            raise LogError(f"offset {offset} of {topic}/{partition} does not exist; the first is 0")
        self._positions[self._assigned(topic, partition)] = offset

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        self._paused |= {self._assigned(*where) for where in partitions}

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        self._paused -= set(partitions)

    def lag(self) -> int:
        """See `Consumer.lag`."""
        read = {where: position for where, position in self._positions.items() if where not in self._paused}
        return sum(max(0, self.source.bounds(*where)[1] - position) for where, position in read.items())

    def close(self) -> None:
        """See `Consumer.close`."""
        if not self._closed:
            self._closed = True
            self._claims, self._positions, self._paused = {}, {}, set()
            self.source.leave(self.group, self.token)

    def claims(self) -> dict[TopicPartition, int]:
        """See `Consumer.claims`."""
        return dict(self._claims)

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset to read of each assigned partition."""
        return dict(self._positions)

    def _refresh(self) -> None:
        if self._closed:
            raise LogError(f"consumer {self.instance} of group {self.group} is closed")
        held = dict(self.source.held(self.group, self.token))
        # A partition that was lost and assigned again has a new claim: others may have read it in between.
        kept = {where for where, claim in held.items() if self._claims.get(where) == claim}
        self._paused &= kept
        self._positions = {
            where: self._positions[where] if where in kept else self.committed(*where) for where in sorted(held)
        }
        self._claims = held

    def _fetch(self, limit: int) -> list[Record]:
        streams = self._streams()
        records: list[Record] = []
        while streams and len(records) < limit:
            where, end, stream = streams.popleft()
            record = next(stream, None)
            if record is None:
                # Beyond gaps at the end (aborted, compacted), else the lag would never reach 0.
                self._positions[where] = end
                continue
            self._positions[where] = record.offset + 1
            records.append(record)
            streams.append((where, end, stream))
        return records

    def _streams(self) -> deque[tuple[TopicPartition, int, Iterator[Record]]]:
        streams: deque[tuple[TopicPartition, int, Iterator[Record]]] = deque()
        for where in sorted(set(self._positions) - self._paused):
            start, end = self._bounds(where)
            if start < end:
                streams.append((where, end, self.source.scan(*where, start, end)))
        # Each turn starts with another partition, so that none starves while `limit` is below their number.
        streams.rotate(-self._turn)
        self._turn += 1
        return streams

    def _bounds(self, where: TopicPartition) -> tuple[int, int]:
        position = self._positions[where]
        start, end = self.source.bounds(*where)
        if position < start:
            raise lost_records(self.group, where, position, start)
        return position, end

    def _assigned(self, topic: str, partition: int) -> TopicPartition:
        if (topic, partition) not in self._positions:
            raise LogError(f"{topic}/{partition} is not assigned to {self.instance} of group {self.group}: poll first")
        return topic, partition
