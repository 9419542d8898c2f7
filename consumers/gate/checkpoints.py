"""Checkpoints of a gate's users: their kept tables follow the log, and users who were not seen for long are forgotten.

A checkpoint is made at the start of a turn, when everything of earlier turns is committed, and reads the gate's own
records of `users` back. So a table never holds what was not committed, whoever wrote it.

With `users.standby` the tables of partitions that other gates have follow the log, too: whoever takes one over reads
what was written since the last checkpoint, and not all of `users`.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing

from consumers.gate.event_time_buffer import EventTimeBuffer
from consumers.gate.user_store import UserStore
from consumers.runtime.malformed import OnSkipped
from consumers.runtime.stage import Output, Turn
from consumers.runtime.user_table import UserTable
from consumers.runtime.user_tables import UserTables
from pipeline.streams.interface import Log, UnavailableError
from pipeline.streams.topics import GATED, INTERACTIONS, USERS
from pipeline.telemetry import Metrics

FORGOTTEN = 5_000
"""Most users of a partition that are forgotten at a checkpoint."""


class Checkpoints:
    """Checkpoints of all partitions of a gate.

    Args:
        tables: kept tables.
        users_of: makes the users of a partition from its table.
        group: of the gates.
        standby: True to keep the tables of partitions that other gates have.
        time_to_live: seconds of event time after which an unseen user is forgotten; None: never.
        on_skipped: called with each record of another program.
        metrics: of the process.
    """

    def __init__(
        self,
        tables: UserTables,
        users_of: Callable[[UserTable], UserStore],
        group: str,
        time_to_live: float | None,
        on_skipped: OnSkipped,
        metrics: Metrics,
        *,
        standby: bool,
    ) -> None:
        self._tables, self._users_of, self._group, self._standby = tables, users_of, group, standby
        self._time_to_live, self._on_skipped, self._metrics = time_to_live, on_skipped, metrics

    def prepare(self, log: Log) -> None:
        """Bring the tables of all partitions up to date, where they are kept for others."""
        if self._standby:
            with ExitStack() as opened:
                for partition in range(log.topic(INTERACTIONS).partitions):
                    self._follow(log, partition, opened)

    def restored(self, log: Log, partition: int, committed: int) -> UserStore:
        """Users of a partition up to a committed offset, from their table and what is newer in the log."""
        now, end = self._tables.clock(), log.acknowledged_end(USERS, partition)
        users = self._users_of(self._tables.open(log, partition, end))
        users.restore(log.read(USERS, partition, users.table.position, end), committed, self._on_skipped, end, now)
        return users

    def make(self, turn: Turn, users: Mapping[int, UserStore], buffers: Mapping[int, EventTimeBuffer[Output]]) -> None:
        """Make a checkpoint of each partition, if it is time."""
        if not self._tables.is_due():
            return
        for partition, some in users.items():
            log, start, now = turn.log, some.table.position, self._tables.clock()
            end = max(start, log.acknowledged_end(USERS, partition))
            committed = turn.consumer.committed(INTERACTIONS, partition)
            if some.checkpoint(log.read(USERS, partition, start, end), committed, self._on_skipped, end, now):
                self._forget(some, buffers[partition])
        with ExitStack() as opened:
            others = set(range(turn.log.topic(INTERACTIONS).partitions)) - users.keys() if self._standby else ()
            beside = [self._follow(turn.log, partition, opened) for partition in sorted(others)]
            self._tables.rewrite([*(some.table for some in users.values()), *filter(None, beside)])

    def forgotten(self, users: Mapping[int, UserStore]) -> list[Output]:
        """Return the records of the users who were forgotten since the last call."""
        outputs = []
        for partition, some in users.items():
            for user_id, state in some.take_forgotten().items():
                self._metrics.forgotten_users.inc()
                outputs.append(Output(USERS, None, user_id, state.timestamp, partition))
                if b"" in state.keys:
                    # Records of schema 2 name the user, and after this no erasure would find them.
                    outputs.append(Output(GATED, None, user_id, state.timestamp, 0))
        return outputs

    def close(self, users: Mapping[int, UserStore]) -> None:
        """Close all tables."""
        for some in users.values():
            some.table.close()
        self._tables.close()

    def _follow(self, log: Log, partition: int, opened: ExitStack) -> UserTable | None:
        """Open the table of a partition that another gate has or may have, and bring it up to date.

        It does not wait for open transactions, as one of a gate that was killed would hold up this one. What fails here
        is tried again at the next checkpoint: the gate's own partitions need none of it.

        Args:
            log: has the users.
            partition: its number.
            opened: closes the table.

        Returns:
            The table; None where there is none that is kept.
        """
        try:
            now, end = self._tables.clock(), log.end_offset(USERS, partition)
            table = opened.enter_context(closing(self._tables.open(log, partition, end)))
            if table.path is None:
                return None
            committed = log.committed(self._group, INTERACTIONS, partition)
            records = log.read(USERS, partition, table.position, end)
            self._users_of(table).checkpoint(records, committed, self._on_skipped, end, now)
        except UnavailableError as error:
            self._tables.note_behind(partition, error)
            return None
        return table

    def _forget(self, users: UserStore, buffer: EventTimeBuffer[Output]) -> None:
        if self._time_to_live is not None:
            # A few clocks that are years ahead forget nobody.
            now = min(buffer.event_time, self._tables.clock())
            users.forget(now - self._time_to_live, buffer.position, FORGOTTEN)
