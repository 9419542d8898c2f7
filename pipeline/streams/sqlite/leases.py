"""Consumer groups of the SQLite log: members with heartbeats, and the partitions they own.

A member without a heartbeat for the length of a lease is removed, and its partitions are free. Time is a monotonic
clock that all processes of the machine share (`time.monotonic` is one), so neither a changed host clock nor a skewed
event moves a lease. The clock restarts at a reboot: a heartbeat in the future is from before it, and is expired.
"""

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.streams.assignment import Member, Moves, plan_moves
from pipeline.streams.checks import fenced_consumer, lost_partition
from pipeline.streams.interface import TopicPartition
from pipeline.streams.sqlite.database import Database


@dataclass(slots=True)
class _Membership:
    """Membership of a consumer of this process; `generation` is that of the group at the last heartbeat."""

    instance: str
    topics: tuple[str, ...]
    generation: int = -1
    beat: float = 0.0
    held: Mapping[TopicPartition, int] | None = None


class Leases:
    """State of the consumer groups in the database.

    Args:
        database: the database.
        clock: monotonic seconds, common to all processes on the machine.
        lease: seconds without a heartbeat after which a member is removed.
    """

    def __init__(self, database: Database, clock: Callable[[], float], lease: float) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        self._memberships: dict[str, _Membership] = {}

    def join(self, group: str, topics: Sequence[str], instance: str) -> str:
        """Enter the group in place of any older member of this instance; return a unique token."""
        token = f"{instance}#{secrets.token_hex(8)}"
        self._memberships[token] = _Membership(instance, tuple(topics))
        with self._database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO groups VALUES (?, 0)", (group,))
            _drop(connection, group, "instance = ?", (instance,))
            self._enter(connection, group, token, self._clock())
            _next_generation(connection, group)
        return token

    def held(self, group: str, token: str, partitions: Mapping[str, int]) -> Mapping[TopicPartition, int]:
        """Send a heartbeat, release and claim partitions as due; return partition -> claim of the member.

        Args:
            group: the group.
            token: the member.
            partitions: number of partitions by topic.
        """
        membership = self._memberships[token]
        ((generation,),) = self._database.rows("SELECT generation FROM groups WHERE name = ?", (group,))
        outdated = membership.held is None or generation != membership.generation
        if outdated or self._clock() - membership.beat >= self._lease / 3:
            self._beat(group, token, partitions)
        return membership.held or {}

    def leave(self, group: str, token: str) -> None:
        """Release all partitions, for others to claim at once."""
        with self._database.write() as connection:
            if _drop(connection, group, "token = ?", (token,)):
                _next_generation(connection, group)
        self._memberships.pop(token, None)

    def check(
        self, connection: sqlite3.Connection, group: str, token: str, claims: Mapping[TopicPartition, int]
    ) -> None:
        """Raise PartitionLostError unless the member still owns each partition under the same claim."""
        for where, claim in claims.items():
            owner = connection.execute(
                'SELECT token, claim FROM owners WHERE "group" = ? AND topic = ? AND number = ?', (group, *where)
            ).fetchone()
            if owner != (token, claim):
                raise lost_partition(group, where)

    def _beat(self, group: str, token: str, partitions: Mapping[str, int]) -> None:
        membership = self._memberships[token]
        with self._database.write() as connection:
            # Read under the write lock: no heartbeat in the table can be later than this one.
            now = self._clock()
            changed = self._renew(connection, group, token, now)
            changed += _drop(connection, group, "seen NOT BETWEEN ? AND ?", (now - self._lease, now))
            due = plan_moves(token, _members(connection, group), _owners(connection, group), partitions)
            if changed or due.release or due.claim:
                _next_generation(connection, group)
            membership.generation = _generation(connection, group)
            _move(connection, group, token, due, membership.generation)
            membership.held = _held(connection, group, token)
            membership.beat = now

    def _renew(self, connection: sqlite3.Connection, group: str, token: str, now: float) -> int:
        if connection.execute("UPDATE members SET seen = ? WHERE token = ?", (now, token)).rowcount:
            return 0
        instance = self._memberships[token].instance
        newer = connection.execute(
            'SELECT 1 FROM members WHERE "group" = ? AND instance = ?', (group, instance)
        ).fetchone()
        if newer:
            raise fenced_consumer(group, instance)
        # Its lease expired: its partitions are released, and it joins again as the last member.
        self._enter(connection, group, token, now)
        return 1

    def _enter(self, connection: sqlite3.Connection, group: str, token: str, now: float) -> None:
        membership = self._memberships[token]
        connection.execute(
            'INSERT INTO members ("group", instance, token, topics, seen) VALUES (?, ?, ?, ?, ?)',
            (group, membership.instance, token, json.dumps(membership.topics), now),
        )


def _drop(connection: sqlite3.Connection, group: str, condition: str, parameters: Sequence[object]) -> int:
    """Remove members and release their partitions; return the number of removed members."""
    removed = connection.execute(
        f'DELETE FROM members WHERE "group" = ? AND {condition}', (group, *parameters)
    ).rowcount
    connection.execute('DELETE FROM owners WHERE "group" = ? AND token NOT IN (SELECT token FROM members)', (group,))
    return removed


def _members(connection: sqlite3.Connection, group: str) -> list[Member]:
    rows = connection.execute('SELECT token, topics FROM members WHERE "group" = ? ORDER BY joined', (group,))
    return [Member(token, tuple(json.loads(topics))) for token, topics in rows]


def _owners(connection: sqlite3.Connection, group: str) -> dict[TopicPartition, str]:
    rows = connection.execute('SELECT topic, number, token FROM owners WHERE "group" = ?', (group,))
    return {(topic, number): token for topic, number, token in rows}


def _held(connection: sqlite3.Connection, group: str, token: str) -> dict[TopicPartition, int]:
    rows = connection.execute('SELECT topic, number, claim FROM owners WHERE "group" = ? AND token = ?', (group, token))
    return {(topic, number): claim for topic, number, claim in rows}


def _move(connection: sqlite3.Connection, group: str, token: str, due: Moves, claim: int) -> None:
    connection.executemany(
        'DELETE FROM owners WHERE "group" = ? AND topic = ? AND number = ?', [(group, *where) for where in due.release]
    )
    connection.executemany(
        "INSERT INTO owners VALUES (?, ?, ?, ?, ?)", [(group, *where, token, claim) for where in due.claim]
    )


def _generation(connection: sqlite3.Connection, group: str) -> int:
    row: Any = connection.execute("SELECT generation FROM groups WHERE name = ?", (group,)).fetchone()
    return int(row[0])


def _next_generation(connection: sqlite3.Connection, group: str) -> None:
    connection.execute("UPDATE groups SET generation = generation + 1 WHERE name = ?", (group,))
