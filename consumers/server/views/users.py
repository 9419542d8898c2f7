"""View of users: kept tables of `users`, and in memory the histories that were used lately."""

import sys
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

from consumers.runtime.user_table import Row, TableError, TableUnwritableError, UserTable, is_user_key
from consumers.runtime.user_tables import UserTables
from pipeline.errors import BadEvent
from pipeline.events.erasure import is_erasure_key
from pipeline.events.user_state import SENT_ON, UserState
from pipeline.events.windows import History
from pipeline.streams.codec import decode_value, encode_value
from pipeline.streams.interface import Log, Record
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import USERS

TOPICS = (USERS,)
"""Topics of this view."""

Known = tuple[History, tuple[str, ...]]
"""History of a user, and distinct items that left it, the one that left last at the end."""

UNKNOWN: Known = (History(), ())
"""Knowledge of a stranger: none."""


class Users:
    """Histories of users. One thread follows the log, others ask.

    Args:
        length: items of a window.
        setup_items: ids of the items of set-up by row, from 1: older records hold rows.
        partitions: number of partitions of `users`.
        kept: kept tables; None for tables in memory.
        cached: users in memory.
        own: partitions whose users are kept; None: all. Nothing is known of the users of others.

    Attributes:
        length, own: as given.
    """

    def __init__(
        self,
        length: int,
        setup_items: Sequence[str],
        partitions: int,
        kept: UserTables | None = None,
        cached: int = 100_000,
        own: Collection[int] | None = None,
    ) -> None:
        self.length, self._setup_items, self._kept, self._size = length, setup_items, kept, cached
        self.own = range(partitions) if own is None else own
        self._partitions = partitions
        self._tables = {partition: UserTable() for partition in self.own}
        self._positions = dict.fromkeys(self.own, 0)
        self._as_of: dict[int, float | None] = dict.fromkeys(self.own)
        self._cached: OrderedDict[str, Known] = OrderedDict()
        self._lock = Lock()
        self._failed: TableError | None = None
        self._is_unwritable = False

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def follow(self, log: Log) -> Mapping[int, int]:
        """Open the kept tables; return for each of its partitions the offset from which `users` is to be read."""
        if self._kept is not None:
            self.close()
            tables = {
                partition: self._kept.open(log, partition, log.acknowledged_end(USERS, partition))
                for partition in self.own
            }
            with self._lock:
                self._tables, self._failed = tables, None
                self._positions = {partition: table.position for partition, table in tables.items()}
                self._as_of = dict.fromkeys(self.own)
                self._cached.clear()
        return dict(self._positions)

    def apply(self, record: Record) -> None:
        """Apply a record of `users`; one outside its user's partition is out of date and is left out.

        So is one of a partition that is not of this server: the log gives some before it knows which it shall give.

        Raises:
            BadEvent, LookupError, TypeError, ValueError: it cannot be read; nothing changes.
        """
        if record.partition not in self._tables:
            return
        self._positions[record.partition] = record.offset + 1
        self._as_of[record.partition] = record.written_at
        key, value = record.key or SENT_ON, record.raw or encode_value(record.value)
        row = None if value is None else Row(value, None, -1, None)
        if is_erasure_key(key):
            self._put(record, row, None)
        elif is_user_key(key) and partition_of(key, self._partitions) == record.partition:
            # A record that cannot be read is refused here, before it is in the table.
            self._put(record, row, None if record.value is None else self._read(record.value))

    def checkpoint(self, log: Log, read: Mapping[int, int]) -> None:
        """Write what was applied, if it is much or it is time.

        Args:
            log: the log.
            read: partition -> offset up to which `users` was read, with the offsets that are of no record.

        Raises:
            TableError: a table cannot be used any more: `follow` opens it anew.
        """
        if self._failed is not None:
            raise self._failed
        due = self._kept is not None and self._kept.is_due()
        for partition, table in self._tables.items():
            if due or (table.is_full and not self._is_unwritable):
                # Before the question: what is written later is not known to be in the table.
                now = self._kept.clock() if due and self._kept is not None else None
                position = max(self._positions[partition], read.get(partition, 0))
                is_whole = due and position >= log.end_offset(USERS, partition)
                self._flush(table, position, now if is_whole else self._as_of[partition])
        if due and self._kept is not None and not self._is_unwritable:
            self._kept.rewrite([*self._tables.values()])

    def _flush(self, table: UserTable, position: int, as_of: float | None) -> None:
        """Write the changes of a table; a full disk must not keep a server from answering."""
        try:
            table.flush(position, as_of)
            self._is_unwritable = False
        except TableUnwritableError as error:
            if self._kept is not None and not self._is_unwritable:
                self._kept.note_unwritable(error)
            self._is_unwritable = True

    def close(self) -> None:
        """Close the tables; what was not written is read again."""
        for table in self._tables.values():
            table.close()

    def ids(self) -> list[str]:
        """Ids of all users, in their order."""
        return sorted(user_id for table in self._tables.values() for user_id in table.user_ids())

    def history(self, user_id: str) -> History:
        """The history of a user, empty for an unknown one."""
        return self._known(user_id)[0]

    def earlier(self, user_id: str) -> tuple[str, ...]:
        """Distinct items that left the history, the one that left last at the end."""
        return self._known(user_id)[1]

    def taken(self, user_id: str) -> tuple[str, ...]:
        """Everything that a user is known to have taken: the history, and the items that left it."""
        history, earlier = self._known(user_id)
        return (*earlier, *history.taken)

    def _put(self, record: Record, row: Row | None, known: Known | None) -> None:
        key = str(record.key)
        with self._lock:
            self._tables[record.partition].put(record.offset, key, row)
            self._cached.pop(key, None)
            if known is not None:
                self._remember(key, known)

    def _known(self, user_id: str) -> Known:
        if not is_user_key(user_id):
            return UNKNOWN
        with self._lock:
            if user_id in self._cached:
                self._cached.move_to_end(user_id)
                return self._cached[user_id]
            table = self._tables.get(partition_of(user_id, self._partitions))
            if table is None:
                return UNKNOWN
            try:
                raw = table.get(user_id)
            except TableError as error:
                # Answered as a stranger until the table is read again.
                self._failed = error
                return UNKNOWN
            if raw is None:
                return UNKNOWN
            known = self._read(decode_value(raw) or {})
            self._remember(user_id, known)
            return known

    def _remember(self, user_id: str, known: Known) -> None:
        self._cached[user_id] = known
        if len(self._cached) > self._size:
            self._cached.popitem(last=False)

    def _read(self, value: Mapping[str, Any]) -> Known:
        if not isinstance(value["history"], list) or not isinstance(value.get("taken", []), list):
            raise BadEvent("bad_history", "a history is a list of item ids, and so is what left it")
        state = UserState.from_record(value, self.length, self._setup_items)
        recent = state.history.since_setup
        if not isinstance(recent, int) or not 0 <= recent <= self.length:
            raise BadEvent("bad_history", f"since_setup must be 0 to {self.length}, not {str(recent)[:40]!r}")
        # Each id is in memory once, however many users took the item.
        history = replace(state.history, items=tuple(map(sys.intern, state.history.items)))
        return history, tuple(map(sys.intern, state.taken))
