"""A log as gates of schema 2 left it: user ids in `gated`, no keys in `users`, dead letters that hold the record."""

from pipeline.streams import SqliteLog
from pipeline.streams.topics import DEAD_LETTERS, GATED, INTERACTIONS, USERS
from tests.consumers.gating import read, users_by_pseudonym


def to_schema_2(log: SqliteLog) -> None:
    """Rewrite what gates wrote."""
    names = users_by_pseudonym(log)
    for record in read(log, GATED):
        user = names.get(str(record.key), record.key)
        value = None if record.value is None else {**record.value, "user_id": user, "schema": 2}
        log.amend(GATED, 0, {record.offset: (user, value)})
    for partition in range(log.topic(USERS).partitions):
        for record in read(log, USERS, partition):
            if record.value is not None:
                value = {name: field for name, field in record.value.items() if name != "keys"}
                log.amend(USERS, partition, {record.offset: (record.key, {**value, "schema": 2})})
    for record in read(log, DEAD_LETTERS):
        letter = dict(record.value or {})
        (refused,) = log.read(INTERACTIONS, letter["partition"], letter["offset"], letter["offset"] + 1)
        del letter["user_id"]
        value = {**letter, "key": refused.key, "value": refused.value, "schema": 2}
        log.amend(DEAD_LETTERS, 0, {record.offset: (record.key, value)})
