"""Migration of `users` from the partitions of an earlier rule to those of the present one.

The migration is a member of the gates' group, and commits its positions with each transaction: it starts once no gate
owns a partition, and a gate that starts meanwhile makes its next commit fail. A user is moved in one transaction:

    1. the state on the home partition; states of one user on several partitions become one (`merged`)
    2. a tombstone on every other partition
    3. offsets that were handled ahead of a committed one, under `SENT_ON` of the partition they are of

So it may end anywhere, and be run again. Interactions need no migration: a gate sends them on as it reads them.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from consumers.gate.stopped_gates import GROUP, own_everything
from consumers.runtime.log_binding import record_rule
from pipeline.events.erasure import is_erasure_key
from pipeline.events.user_state import SENT_ON, UserState, committed_input, merged
from pipeline.events.windows import History
from pipeline.streams.interface import Consumer, Log, PartitionLostError, Producer, Transaction
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import INTERACTIONS, USERS

INSTANCE = "topics-migrate"
"""Name of the migration in the group of the gates."""

TRANSACTION = 500
"""Most users of a transaction."""

ATTEMPTS = 5
"""Most rebalances of the group that a migration survives."""


@dataclass(frozen=True)
class Migrated:
    """Result of a migration.

    Attributes:
        users: users of the log.
        moved: those whose state was not on the home partition alone.
        merged: those of them with more than one state.
    """

    users: int
    moved: int
    merged: int


def migrate_users(log: Log, patience: float, clock: Callable[[], float]) -> Migrated:
    """Move every user to the home partition, and record the rule in the log.

    Args:
        log: has the topics.
        patience: seconds to wait until the group of the gates is empty; a gate that was killed is a member for a while.
        clock: monotonic seconds.

    Raises:
        LogError: a gate is running.
        PartitionLostError: a gate started; the users moved so far stay moved.
    """
    users: set[str] = set()
    moved: list[int] = []
    with closing(log.consumer(GROUP, (INTERACTIONS,), INSTANCE)) as consumer:
        producer = log.producer(INSTANCE)
        for attempt in range(ATTEMPTS):
            own_everything(log, consumer, clock() + patience, clock)
            moves = _Moves(log, consumer)
            users |= moves.states.keys()
            try:
                for states in moves.send_all(producer):
                    moved.append(states)
            except PartitionLostError:
                # The members of a group are also counted anew when one of them has left.
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                break
    return Migrated(len(users), len(moved), sum(states > 1 for states in moved))


class _Moves:
    """Users of a log, by their partitions.

    Attributes:
        states: user id -> partition -> encoded state.
        misplaced: users with a state that is not on the home partition.
    """

    def __init__(self, log: Log, consumer: Consumer) -> None:
        self._consumer = consumer
        self._partitions = log.topic(USERS).partitions
        self._positions = [consumer.position(INTERACTIONS, partition) for partition in range(self._partitions)]
        self._ahead: list[set[int]] = [set() for _ in self._positions]
        self.states: dict[str, dict[int, bytes]] = defaultdict(dict)
        for partition, position in enumerate(self._positions):
            states = _states(log, partition, position)
            self._ahead[partition].update(self._ahead_of(partition, states.pop(SENT_ON, b'{"ahead":[]}')))
            for user_id, raw in states.items():
                self.states[user_id][partition] = raw
        self.misplaced = {user_id for user_id, found in self.states.items() if set(found) != {self._home(user_id)}}

    def send_all(self, producer: Producer) -> Iterator[int]:
        """Move all misplaced users and record the rule; yield the number of states of each user that was moved."""
        users = sorted(self.misplaced)
        for start in range(0, len(users), TRANSACTION):
            batch = users[start : start + TRANSACTION]
            with producer.transaction() as transaction:
                for user_id in batch:
                    self._send(user_id, transaction)
                transaction.commit_offsets(self._consumer)
            yield from (len(self.states[user_id]) for user_id in batch)
            # The membership ends without polls; paused, they return nothing.
            self._consumer.poll(1, 0.0)
        with producer.transaction() as transaction:
            record_rule(transaction)
            transaction.commit_offsets(self._consumer)

    def _send(self, user_id: str, transaction: Transaction) -> None:
        """Add the records that move a user."""
        found, home = self.states[user_id], self._home(user_id)
        state = merged([json.loads(raw) for raw in found.values()], self._positions[home])
        kept = self._ahead_of(home, found.get(home, b"{}"))
        if state["history"] or kept:
            value = {**state, "ahead": kept} if kept else state
            transaction.send(USERS, value, key=user_id, partition=home, timestamp=state["latest"]["timestamp"])
        for partition in sorted(set(found) - {home}):
            self._leave(user_id, partition, found[partition], transaction)

    def _leave(self, user_id: str, partition: int, raw: bytes, transaction: Transaction) -> None:
        """Remove a user from a partition; what was handled there ahead of the committed offset stays known."""
        transaction.send(USERS, None, key=user_id, partition=partition, timestamp=0.0)
        ahead = self._ahead_of(partition, raw)
        if ahead:
            self._ahead[partition].update(ahead)
            state = UserState(History(), ahead=tuple(sorted(self._ahead[partition])))
            value = state.to_record(self._positions[partition])
            transaction.send(USERS, value, key=SENT_ON, partition=partition, timestamp=0.0)

    def _ahead_of(self, partition: int, raw: bytes) -> Sequence[int]:
        value: Mapping[str, Any] = json.loads(raw)
        return [offset for offset in value.get("ahead", ()) if offset >= self._positions[partition]]

    def _home(self, user_id: str) -> int:
        return partition_of(user_id, self._partitions)


def _states(log: Log, partition: int, committed: int) -> dict[str, bytes]:
    """Return the encoded state of each user of a partition, up to a committed offset of `interactions`."""
    states: dict[str, bytes] = {}
    for record in log.read(USERS, partition, 0, log.acknowledged_end(USERS, partition)):
        if is_erasure_key(record.key):
            # It is on the partition of its user already: only this rule's gates write such records.
            continue
        if record.value is None or record.raw is None:
            states.pop(str(record.key), None)
        elif committed_input(record.value) <= committed:
            states[str(record.key)] = record.raw
    return states
